"""The U-Net without torch's compiler and scipy.stats: the network is the same, and both are there when asked for."""

import subprocess
import sys

CODE = """
import sys, torch
{first}
from polyclinic.modalities.imaging.unet import UNet2DModel
torch.manual_seed(0)
net = UNet2DModel(sample_size=8, block_out_channels=(8, 8), down_block_types=("DownBlock2D",) * 2,
                  up_block_types=("UpBlock2D",) * 2, norm_num_groups=4, layers_per_block=1)
out = net(torch.ones(1, 3, 8, 8), 5.0).sample
others = [name for name in sys.modules if name.startswith("diffusers.models.") and "unet_3d" in name]
assert not others, others
print("torch._dynamo" in sys.modules, "scipy.stats" in sys.modules, float(out.abs().sum()))
import torch._dynamo
assert torch._dynamo.is_dynamo_supported() and torch._dynamo is sys.modules["torch._dynamo"]
from diffusers.schedulers import scheduling_dpmsolver_multistep as solver
assert solver.scipy.stats.norm.cdf(0) == 0.5 and solver.scipy.stats is sys.modules["scipy.stats"]
import diffusers.models.transformers
from diffusers.models.unets import UNet2DConditionModel, UNet2DModel as whole
assert whole is UNet2DModel and diffusers.UNet2DModel is UNet2DModel
assert UNet2DConditionModel.__module__ in sys.modules and diffusers.models.transformers.Transformer2DModel
"""


def test_the_network_is_the_same_with_them_and_without():
    said = [
        subprocess.run(
            [sys.executable, "-c", CODE.format(first=first)], capture_output=True, text=True, check=True
        ).stdout.split()
        for first in ("", "import torch._dynamo, scipy.stats")
    ]
    assert [loaded for *loaded, _ in said] == [["False", "False"], ["True", "True"]]
    assert said[0][2] == said[1][2] != "0.0"


LISTING = """
import importlib.metadata as about
listed, calls = about.packages_distributions, []
about.packages_distributions = lambda: calls.append(1) or listed()
from polyclinic.modalities.imaging.unet import UNet2DModel
assert not calls
from diffusers.utils import import_utils
assert import_utils._is_distribution_installed("PIL")[0] and len(calls) == 1
assert dict(import_utils._package_map) == listed() and len(calls) == 1
assert isinstance(about.packages_distributions(), dict)
"""


def test_packages_are_listed_when_they_are_asked_for():
    subprocess.run([sys.executable, "-c", LISTING], check=True)
