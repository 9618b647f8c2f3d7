"""Which threads use models: a tokenizer keeps the padding of its last call, so that two threads in
one would pad each other's text.
"""

import threading
from contextlib import contextmanager

import pytest
from torch.nn.modules.module import register_module_forward_pre_hook
from transformers import PreTrainedTokenizerBase


@contextmanager
def users_beside(owner):
    """Names of the threads that call any tokenizer or network while a thread ``owner`` lives."""
    names, call = set(), PreTrainedTokenizerBase.__call__

    def note(*_):
        if any(thread.name == owner for thread in threading.enumerate()):
            names.add(threading.current_thread().name)

    def noted(self, *args, **kwargs):
        note()
        return call(self, *args, **kwargs)

    hook = register_module_forward_pre_hook(note)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(PreTrainedTokenizerBase, "__call__", noted)
            yield names
    finally:
        hook.remove()
