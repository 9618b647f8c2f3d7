"""Local search under several limits: up to four users change their entries at a time.

Sums of two moves are looked up among sums of two moves: together they shall use all that is spare
of every limit, but for a few units. Hashes that are linear in the weights make that one search in a
sorted list, so that a quarter of a million pairs, and so 10^10 exchanges, take a tenth of a second.
"""

import itertools

import numpy as np

from solver.columnar import IntArray
from solver.exact.losses import Losses

#: Moves that lose least, of which all pairs are formed.
MOVES = (250, 1000)
#: Units of all limits together that an exchange may leave unused.
MOST_UNUSED = 2
#: Matches of one search that are looked at.
MOST_TRIED = 20


def exchanged(losses: Losses, limit: float) -> IntArray | None:
    """A choice that loses less than ``limit``, by exchanges from the start; None if none was found.

    What a choice loses are the losses of its entries, and the price of what it leaves unused.
    """
    best: IntArray | None = None
    start, unused = losses.start, _small_vectors(len(losses.capacity))
    for count in MOVES:
        while True:
            losses = losses.at(start)
            answer = _exchange(losses, limit, count, unused)
            if answer is None:
                break
            start = best = answer
            losses = losses.at(start)
            limit = float(losses.own.sum() + losses.price @ losses.spare)
    return best


def _exchange(losses: Losses, limit: float, count: int, unused: IntArray) -> IntArray | None:
    """The choice after the best exchange, if it loses less than ``limit``."""
    users, entries = losses.loss.shape
    own = float(losses.own.sum())
    more = losses.loss - losses.own[:, None]
    more[np.arange(users), losses.start] = np.inf
    count = min(count, int((more < limit).sum()))
    if not count:
        return None
    index = np.argpartition(more, count - 1, axis=None)[:count]
    # the last move is none
    user, entry = (np.append(part, -1) for part in np.divmod(index, entries))
    loss = np.append(more.ravel()[index], 0.0)
    weight = losses.weight[entry] - losses.weight[losses.start[user]]
    weight[-1] = 0
    # wraps around, as it is linear modulo 2^64
    factors = np.random.default_rng(0).integers(1, 2**62, weight.shape[1])
    key = weight @ factors
    first, second = np.triu_indices(count + 1)
    kept = (user[first] != user[second]) | (first == count)
    kept &= loss[first] + loss[second] < limit
    first, second = first[kept], second[kept]
    pair_key, pair_loss = key[first] + key[second], loss[first] + loss[second]
    order = np.lexsort((pair_loss, pair_key))
    order = order[np.diff(pair_key[order], prepend=pair_key[order][:1] - 1) != 0]
    pair_key, pair_loss = pair_key[order], pair_loss[order]
    pairs = np.column_stack([first, second])[order]
    best: IntArray | None = None
    for left in unused:
        wanted = (losses.spare - left) @ factors - pair_key
        at = np.minimum(np.searchsorted(pair_key, wanted), len(pair_key) - 1)
        hit = np.flatnonzero(pair_key[at] == wanted)
        total = own + pair_loss[hit] + pair_loss[at[hit]] + float(losses.price @ left)
        for match in np.argsort(total, kind="stable")[:MOST_TRIED]:
            if total[match] >= limit:
                break
            moves = np.concatenate([pairs[hit[match]], pairs[at[hit[match]]]])
            moves = moves[moves < count]
            fits = (losses.spare - weight[moves].sum(axis=0) == left).all()
            if fits and len(set(user[moves])) == len(moves):
                limit, best = float(total[match]), losses.start.copy()
                best[user[moves]] = entry[moves]
                break
    return best


def _small_vectors(size: int) -> IntArray:
    """The vectors of whole numbers >= 0 whose sum is at most :data:`MOST_UNUSED`."""
    chosen = [
        combination
        for total in range(MOST_UNUSED + 1)
        for combination in itertools.combinations_with_replacement(range(size), total)
    ]
    vectors = np.zeros((len(chosen), size), dtype=np.int64)
    for vector, combination in zip(vectors, chosen, strict=True):
        np.add.at(vector, list(combination), 1)
    return vectors
