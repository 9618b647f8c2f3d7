"""Whether a tokenizer is whole: libraries open one without its files, and it then tells no two
prompts apart.
"""

from typing import Any

import torch

from solver.inputs import InputError

#: Two prompts that no whole tokenizer takes for one.
PROMPTS = ("a big red ball in the middle", "a small green tree at the top")
#: Least share of the network's rows that have a token: some networks have rows to spare.
_LEAST_FILLED = 0.95
#: Of so many words of the vocabulary at least a part must be one token each: a tokenizer without
#: its merges cuts every word into letters.
_WORDS, _LEAST_WHOLE = 200, 0.25


def check_tokenizer(where: str, tokenizer: Any, network: torch.nn.Module) -> None:
    """Raise :class:`InputError` unless ``tokenizer`` is the whole one of a text ``network``."""
    rows = len(network.get_input_embeddings().weight)
    vocabulary = tokenizer.get_vocab()
    if len(vocabulary) < _LEAST_FILLED * rows:
        raise InputError(
            f"{where}: a vocabulary of {len(vocabulary)} tokens for a text encoder of {rows}; "
            "its files are missing or damaged: fetch the folder again, whole"
        )
    if max(vocabulary.values()) >= rows:
        raise InputError(
            f"{where}: token {max(vocabulary.values())} is beyond the text encoder, which knows "
            f"{rows}; allowed: the tokenizer that the model was saved with"
        )
    first, other = (tokenizer(prompt).input_ids for prompt in PROMPTS)
    if first == other or _share_of_whole_words(tokenizer, vocabulary) < _LEAST_WHOLE:
        raise InputError(
            f"{where}: does not find the words of its own vocabulary in a prompt; "
            "its files are missing or damaged: fetch the folder again, whole"
        )


def check_length(where: str, tokenizer: Any, network: torch.nn.Module) -> None:
    """Raise :class:`InputError` where ``tokenizer`` makes prompts longer than the CLIP text
    ``network`` of a pipeline takes: pipelines fill every prompt up to its length.
    """
    config: Any = network.config
    if config.model_type != "clip_text_model":
        return
    length, most = tokenizer.model_max_length, config.max_position_embeddings
    if length > most:
        raise InputError(
            f"{where}: model_max_length: found {length:.6g}; allowed: at most {most} in its "
            "tokenizer_config.json, the tokens that the text encoder takes"
        )


def _share_of_whole_words(tokenizer: Any, vocabulary: dict[str, int]) -> float:
    """The share of a sample of ``vocabulary`` whose text is one token again."""
    special = set(tokenizer.all_special_tokens)
    words = [token for token in sorted(vocabulary) if token not in special and len(token) > 1]
    words = words[:: max(1, len(words) // _WORDS)]
    again = [tokenizer.tokenize(tokenizer.decode([vocabulary[word]])) for word in words]
    return sum(a == [word] for word, a in zip(words, again)) / max(1, len(words))
