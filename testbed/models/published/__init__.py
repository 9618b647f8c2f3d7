"""Published architectures: their networks at true size, their operations, their costs."""
