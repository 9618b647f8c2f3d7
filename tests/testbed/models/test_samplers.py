"""Samplers that give noise are refused, and step counts that a scheduler does not take."""

import diffusers
import pytest
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from diffusers.utils import is_torchsde_available

from solver.inputs import InputError
from testbed.models import samplers
from testbed.models.pipelines import WEIGHTS, quiet_libraries
from testbed.models.published.catalogue import ARCHITECTURES
from testbed.models.samplers import check_steps, misfit, next_count, refusal, replaced
from tests.testbed.pipelines_world import BETAS

LIGHT = DDIMScheduler.from_pretrained(WEIGHTS / "light" / "scheduler")
LCM = LCMScheduler(**BETAS, original_inference_steps=50)
KARRAS = DPMSolverMultistepScheduler(beta_schedule="squaredcos_cap_v2", use_karras_sigmas=True)


KINDS = {kind.__name__: kind for kind in LIGHT.compatibles}


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    """Few step counts are tried one by one."""
    quiet_libraries()
    monkeypatch.setattr(samplers, "_TRIED", 20)


@pytest.mark.parametrize("name", ["EDMEulerScheduler", "HeunDiscreteScheduler"])
def test_a_sampler_that_gave_noise_on_the_embedded_model_is_refused(name):
    """CLIP scores at 24 steps: 22 and 13, where DDIM has 83."""
    assert misfit(LIGHT, KINDS[name])


def test_the_samplers_that_made_images_on_the_embedded_model_are_allowed():
    """CLIP scores at 24 steps: 82 to 84, each."""
    names = "DDIM DDPM EulerDiscrete EulerAncestralDiscrete KDPM2Discrete LMSDiscrete PNDM"
    names += " DEISMultistep DPMSolverMultistep DPMSolverSinglestep UniPCMultistep"
    # of 5040 timesteps it takes seconds to be made
    few = DDIMScheduler.from_config(LIGHT.config, num_train_timesteps=504)
    for name in names.split():
        own = few if name == "KDPM2Discrete" else LIGHT
        assert misfit(own, KINDS[f"{name}Scheduler"]) is None, name


@pytest.mark.parametrize(
    "own",
    [
        PNDMScheduler(**BETAS, skip_prk_steps=True),
        EulerDiscreteScheduler(**BETAS | {"timestep_spacing": "trailing"}),
        DDIMScheduler(**BETAS, prediction_type="v_prediction", clip_sample=False),
        LCM,
        EDMDPMSolverMultistepScheduler(),
        FlowMatchEulerDiscreteScheduler(shift=3.0),
        FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    ],
    ids=lambda own: type(own).__name__,
)
def test_published_schedulers_fit_their_own_config(own):
    assert misfit(own) is None
    check_steps(own, {"steps": (1, 2, 4, 50)})


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_published_models_take_few_steps(name):
    """Sana-Sprint's 1 to 4 were refused, each."""
    kind, config = ARCHITECTURES[name].scheduler
    check_steps(getattr(diffusers, kind)(**config), {"steps": (1, 2, 3, 4)})


def test_stable_diffusions_config_fits_all_but_the_edm_sampler():
    own = PNDMScheduler(**BETAS, skip_prk_steps=True)
    with pytest.raises(
        InputError, match="scheduler: found EDMEulerScheduler: it is made for other .* allowed: DD"
    ) as caught:
        replaced(own, "EDMEulerScheduler")
    left = set(KINDS) - set(str(caught.value).partition("allowed: ")[2].split(", "))
    assert left == {"EDMEulerScheduler", "DPMSolverSDEScheduler"}
    assert type(replaced(own, "HeunDiscreteScheduler")) is HeunDiscreteScheduler


def test_a_models_own_sampler_that_gives_noise_by_its_config():
    """A network that predicts noise tells nothing at a terminal signal-to-noise ratio of zero."""
    zero = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "clip_sample": False}
    assert "noise" in misfit(DDIMScheduler(**BETAS | zero))
    assert misfit(DDIMScheduler(**BETAS | zero, prediction_type="v_prediction")) is None
    assert "noise" in misfit(HeunDiscreteScheduler.from_config(LIGHT.config))


class Unseeded(EulerAncestralDiscreteScheduler):
    """Takes noise from wherever it likes, as DPMSolverSDEScheduler does."""

    def step(self, *arguments, generator=None, **options):
        return super().step(*arguments, **options)


def test_a_sampler_that_does_not_keep_to_the_seed_is_refused():
    assert misfit(LIGHT, EulerAncestralDiscreteScheduler) is None
    assert "its noise is not of the seed" in misfit(LIGHT, Unseeded)
    if is_torchsde_available():
        assert "its noise is not of the seed" in misfit(LIGHT, KINDS["DPMSolverSDEScheduler"])


@pytest.mark.skipif(is_torchsde_available(), reason="torchsde is installed")
def test_a_sampler_of_an_absent_package_says_which():
    assert "requires the torchsde library" in misfit(LIGHT, KINDS["DPMSolverSDEScheduler"])


def test_more_steps_than_lcm_was_distilled_for():
    with pytest.raises(
        InputError,
        match="^sweep.converged_steps: found 96; allowed: 1 to 50 with LCMScheduler, which says",
    ):
        check_steps(LCM, {"sweep.steps": (1, 4), "sweep.converged_steps": (96,)})
    check_steps(LCM, {"sweep.converged_steps": (50,)})


def test_karras_sigmas_that_run_out_of_their_table():
    """It fails in a step, not where the schedule is made."""
    check_steps(KARRAS, {"sweep.steps": (1, 2, 3)})
    with pytest.raises(InputError, match="sweep.steps: found 4; allowed: 1 to 3 with DPMSolver"):
        check_steps(KARRAS, {"sweep.steps": (1, 2, 4)})


def test_a_sampler_that_needs_several_steps_is_warmed_up_with_as_many():
    own = PNDMScheduler(**BETAS)
    with pytest.raises(InputError, match="found 1; allowed: from 4 with PNDMScheduler"):
        check_steps(own, {"steps": (4, 8, 1)})
    assert [next_count(own, least) for least in (1, 3, 5)] == [4, 4, 5]
    assert [next_count(LIGHT, least) for least in (1, 3)] == [1, 3]


def test_more_steps_than_there_are_timesteps():
    own = UniPCMultistepScheduler(**BETAS)
    assert refusal(own, 40) is None
    few = DDIMScheduler(**BETAS, num_train_timesteps=130)
    with pytest.raises(InputError, match="steps: found 6000; allowed: 1 to 129 with DDIM"):
        check_steps(few, {"steps": (6000,)})


def test_a_trial_leaves_the_scheduler_as_it_was():
    before = {key: str(value) for key, value in vars(KARRAS).items()}
    refusal(KARRAS, 3)
    refusal(KARRAS, 4)
    assert {key: str(value) for key, value in vars(KARRAS).items()} == before
