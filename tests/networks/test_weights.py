"""Weights from torchvision, timm and files, judged by equality of outputs."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from hillock.errors import ModelError
from hillock.networks import load_weights, network, read_weights, save_weights
from hillock.networks.weights import to_torchvision


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    """Give every parameter and statistic a value of its own, so that two exchanged tensors show."""
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                spread = torch.rand(value.shape, generator=draws)
                value.copy_(0.5 + spread if "running_var" in name or value.dim() == 1 else (spread - 0.5) * 0.1)
    return model.eval()


def picture(side: int) -> torch.Tensor:
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_timm_resnets_load_and_give_equal_outputs(timm: Any, depth: int) -> None:
    theirs = shaken(timm.create_model(f"resnet{depth}", num_classes=12))
    ours = network(f"resnet{depth}", num_classes=12, image_size=64).eval()
    load_weights(ours, theirs.state_dict())
    x = picture(64)
    with torch.no_grad():
        expected, got = theirs(x), ours(x)
    assert expected.std() > 1e-3  # the comparison below compares something
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    back = to_torchvision(ours)
    assert back.keys() == theirs.state_dict().keys()
    assert all(torch.equal(back[key], value) for key, value in theirs.state_dict().items())


def test_torchvision_s_alexnet_loads_and_gives_equal_outputs(timm: Any) -> None:
    models = pytest.importorskip("torchvision.models")
    theirs = shaken(models.alexnet(num_classes=10))
    ours = network("alexnet_torchvision", num_classes=10).eval()
    load_weights(ours, theirs.state_dict())
    x = picture(224)
    with torch.no_grad():
        expected, got = theirs(x), ours(x)
    assert expected.std() > 1e-3
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert to_torchvision(ours).keys() == theirs.state_dict().keys()


def test_original_strides_do_not_equal_timm_s(timm: Any) -> None:
    theirs = shaken(timm.create_model("resnet50", num_classes=12))
    v1 = network("resnet50", num_classes=12, image_size=64, stride_on="first").eval()
    load_weights(v1, theirs.state_dict())  # the shapes are the same, the function is not
    x = picture(64)
    with torch.no_grad():
        assert not torch.allclose(v1(x), theirs(x), rtol=1e-2)


@pytest.mark.parametrize("names", ["hillock", "torchvision"])
def test_a_file_written_is_a_file_read(tmp_path: Path, names: str) -> None:
    one = network("resnet18", width=4, image_size=32, seed=1)
    other = network("resnet18", width=4, image_size=32, seed=2)
    save_weights(one, tmp_path / "weights.safetensors", names=names)
    load_weights(other, tmp_path / "weights.safetensors")
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())


def test_another_classifier_can_stay(tmp_path: Path) -> None:
    pretrained, ours = network("resnet8", num_classes=10, seed=1), network("resnet8", num_classes=3, seed=2)
    head = ours.head.weight.clone()
    with pytest.raises(ModelError, match=r"head\.weight \(10, 64\) for \(3, 64\)"):
        load_weights(ours, pretrained.state_dict())
    load_weights(ours, pretrained.state_dict(), head=False)
    assert torch.equal(ours.head.weight, head)
    assert torch.equal(ours.stem.conv1.weight, pretrained.stem.conv1.weight)


def test_learned_activation_parameters_may_be_missing(timm: Any) -> None:
    ours = network("resnet18", activation="prelu", num_classes=12)
    load_weights(ours, timm.create_model("resnet18", num_classes=12).state_dict())


def test_missing_and_foreign_tensors_are_named() -> None:
    net = network("resnet8")
    state = dict(net.state_dict())
    del state["head.bias"]
    with pytest.raises(ModelError, match=r"missing: head\.bias"):
        load_weights(net, state)
    with pytest.raises(ModelError, match="not of this network: extra"):
        load_weights(net, {**net.state_dict(), "extra": torch.zeros(1)})
    with pytest.raises(ModelError, match="strange"):
        load_weights(net, {"strange.weight": torch.zeros(1)}, names="torchvision")


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("was-run"),))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Harmful()}, tmp_path / "torch.pt")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Harmful()))
    for name in ("torch.pt", "plain.pkl"):
        with pytest.raises(ModelError, match="pickle that would run code"):
            read_weights(tmp_path / name)
    assert not (tmp_path / "was-run").exists()
    torch.load(tmp_path / "torch.pt", weights_only=False)  # the planted fault does bite
    assert (tmp_path / "was-run").exists()


def test_damaged_and_absent_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"no header")
    (tmp_path / "empty.pt").write_bytes(b"")
    for name in ("broken.safetensors", "empty.pt", "absent.pt"):
        with pytest.raises(ModelError, match=name):
            read_weights(tmp_path / name)
    safetensors.torch.save_file({"weight": torch.ones(2)}, tmp_path / "good.safetensors")
    assert read_weights(tmp_path / "good.safetensors")["weight"].sum() == 2
    torch.save({"state_dict": {"weight": torch.ones(2)}}, tmp_path / "good.pt")
    assert read_weights(tmp_path / "good.pt")["weight"].sum() == 2
