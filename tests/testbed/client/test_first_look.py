"""The look at a server: what would spoil measurements is refused, or said, before any is taken."""

import itertools

import numpy as np
import pytest

from solver.inputs import InputError
from testbed.client.first_look import look
from testbed.client.remote import RemotePlace
from testbed.config import ModelConfig
from tests.testbed.client.world import SIZE, Shop, openai_body, picture, serving

STEPS = {"sweep.steps": (2, 4), "sweep.converged_steps": (8,)}


class Made(Shop):
    """A server whose image is ``draw(prompt, seed, steps)``; ``most`` steps are allowed."""

    def __init__(self, draw=picture, least=1, most=99):
        super().__init__()
        self.draw, self.least, self.most = draw, least, most

    def answer(self, body):
        steps = body["num_inference_steps"]
        if not self.least <= steps <= self.most:
            return 422, {}, {"error": {"message": f"at most {self.most} steps"}}
        return 200, {}, openai_body(self.draw(body["prompt"], body["seed"], steps))


def look_at(shop, steps=STEPS):
    with serving(shop) as (url, _):
        place = RemotePlace.open(ModelConfig("served", url=url), steps=2)
        look(place, steps)
        return place


def asked(shop):
    """Step counts of the images that a server was asked for."""
    return [body["num_inference_steps"] for body in shop.bodies]


def test_a_server_that_does_as_asked_passes_and_is_asked_for_what_the_run_will_and_no_more():
    shop = Made(least=2)  # as a sampler that takes no single step
    assert look_at(shop).notes == []
    assert sorted(asked(shop)) == [2, 2, 2, 8]
    shop = Made()
    assert look_at(shop, {"sweep.steps": (2,)}).notes == [] and asked(shop) == [2, 2, 2]


def test_a_step_count_that_it_refuses_is_named_by_its_setting():
    """It was refused by each converged image of the sweep."""
    with pytest.raises(InputError, match="sweep.converged_steps: found 8; refused by .*at most 4"):
        look_at(Made(most=4))


def test_an_image_of_one_colour():
    red = np.full((SIZE, SIZE, 3), (200, 10, 10), np.uint8)
    shop = Made(lambda *_: red)
    with pytest.raises(InputError, match="an image of one colour"):
        look_at(shop)
    assert asked(shop) == [2], "the others would tell no more"


def test_prompts_that_do_not_matter():
    with pytest.raises(InputError, match="the image of 'a small .* is that of 'a big red"):
        look_at(Made(lambda _, seed, steps: picture("", seed, steps)))


def test_a_seed_that_is_not_kept_is_said_and_noted():
    count = itertools.count()
    with pytest.warns(UserWarning, match="does not keep to the seed"):
        place = look_at(Made(lambda prompt, _, steps: picture(prompt, next(count), steps)))
    assert len(place.notes) == 1


def test_a_card_that_rounds_differently_each_time_keeps_to_the_seed():
    rng = np.random.default_rng(0)

    def nearly(*asked):
        off = rng.integers(-1, 2, (SIZE, SIZE, 3))
        return (picture(*asked).astype(int) + off).clip(0, 255).astype(np.uint8)

    assert look_at(Made(nearly)).notes == []
