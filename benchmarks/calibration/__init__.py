"""Fitted curves and what is predicted from them: do they hold, and what do sweeps cost?"""
