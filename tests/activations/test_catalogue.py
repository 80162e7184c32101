"""The catalogue is complete, each function said once, and every list of the literature resolves."""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path

import pytest
import torch

import hillock
from hillock.activations import CATALOGUE, Activation, Card, catalogue, find
from hillock.activations.catalogue import lookup
from hillock.errors import UnknownNameError, UsageError

# Sheehan's page "from ReLU to Sinc", in its order, and the entry that each of its names means.
SHEEHAN = {
    "Step": "binary_step", "Identity": "identity", "ReLU": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh",
    "Leaky ReLU": "leaky_relu", "PReLU": "prelu", "RReLU": "rrelu", "ELU": "elu", "SELU": "selu", "SReLU": "srelu",
    "Hard Sigmoid": "hard_sigmoid", "Hard Tanh": "hard_tanh", "LeCun Tanh": "lecun_tanh", "ArcTan": "arctan",
    "Softsign": "softsign", "SoftPlus": "softplus", "Signum": "signum", "Bent Identity": "bent_identity",
    "Symmetrical Sigmoid": "symmetrical_sigmoid", "Log Log": "complementary_log_log", "Gaussian": "gaussian",
    "Absolute": "absolute", "Sinusoid": "sinusoid", "Cos": "cosine", "Sinc": "sinc",
}  # fmt: skip
# Eger, Youssef and Gurevych 2018: name in the paper -> entry and what it computes at -1.3 and 0.7.
EGER = {
    "swish": ("swish", lambda x: x * torch.sigmoid(x)),
    "maxsig": ("maxsig", lambda x: torch.maximum(x, torch.sigmoid(x))),
    "cosid": ("cosid", lambda x: torch.cos(x) - x),
    "minsin": ("minsin", lambda x: torch.minimum(x, torch.sin(x))),
    "arctid": ("arctid", lambda x: torch.atan(x) ** 2 - x),
    "maxtanh": ("maxtanh", lambda x: torch.maximum(x, torch.tanh(x))),
    "penalized tanh": ("penalised_tanh", lambda x: torch.where(x > 0, torch.tanh(x), 0.25 * torch.tanh(x))),
    "sin": ("sinusoid", torch.sin),
    "sigmoid": ("sigmoid", torch.sigmoid),
    "tanh": ("tanh", torch.tanh),
    "relu": ("relu", torch.relu),
    "elu": ("elu", torch.nn.functional.elu),
    "selu": ("selu", torch.nn.functional.selu),
    "linear": ("identity", lambda x: x),
    "cube": ("cube", lambda x: x**3),
    "lrelu": ("leaky_relu", torch.nn.functional.leaky_relu),
    "prelu": ("prelu", lambda x: torch.nn.functional.leaky_relu(x, 0.25)),
    "maxout": ("maxout", None),
}


def test_sheehans_26() -> None:
    assert len(SHEEHAN) == 26
    assert {name: lookup(name).name for name in SHEEHAN} == SHEEHAN


def test_egers_21() -> None:
    # lrelu stands for two slopes (0.01, 0.30) and maxout for k = 2, 3, 4: 18 names, 21 functions.
    assert len(EGER) + 1 + 2 == 21
    x = torch.tensor([-1.3, 0.7], dtype=torch.float64)
    for name, (entry, formula) in EGER.items():
        assert lookup(name).name == entry
        if formula is not None:
            activation = find(name)
            torch.testing.assert_close(activation.value(x, **activation.constants()), formula(x))
    leaky = find("lrelu")
    torch.testing.assert_close(leaky.value(x, **leaky.constants(negative_slope=0.3)), torch.where(x > 0, x, 0.3 * x))
    assert find("cosper") is find("cosid")
    assert find("tanhrev") is find("arctid")


def test_the_notes_and_their_articles_are_covered() -> None:
    named = """
        binary step, identity, sigmoid, tanh, LeCun tanh, symmetrical sigmoid, arctan, softsign, hard tanh,
        hard sigmoid, hard_sigmoid_keras, hard_sigmoid_theano, hard_sigmoid_onnx, hard_sigmoid_binary_connect,
        log-sigmoid, tanhshrink,
        complementary log-log, penalised tanh, ReLU, ReLU6, leaky ReLU, PReLU, RReLU, rrelu_paper, SReLU, hard shrink,
        soft shrink, threshold, absolute value, signum, ELU, SELU, CELU, softplus, soft ReLU, bent identity,
        squared ReLU, SiLU, Swish, GELU, gelu_tanh, gelu_sigmoid, Mish, hard swish, su, ELiSH, ACON-C, SMU, APL, PAU,
        Pade, cosid, minsin, arctid, maxtanh, maxsig, cube, sinusoid, cosine, sinc, Gaussian, Maxout, GLU, GTU,
        bilinear,        ReGLU, GEGLU, SwiGLU, CReLU, softmax, log-softmax, Dynamic ReLU
    """
    for name in named.split(","):
        assert lookup(name.strip())


def test_every_entry_is_complete() -> None:
    for entry in CATALOGUE:
        assert entry.source is not None
        assert entry.source.bibtex()
        assert entry.remarks or entry.name in {"identity"}, f"{entry} says nothing of frameworks or papers"
        texts = [entry.formula, *entry.remarks, entry.source.text]
        assert not any("todo" in text.lower() or "to do" in text.lower() for text in texts)
        if isinstance(entry, Activation):
            assert entry.traits is not None
            assert entry.family != "own"


def test_one_formula_one_value_one_slope() -> None:
    """The source holds exactly one declaration a name, and each function's arithmetic is written once in each role."""
    folder = Path(inspect.getsourcefile(hillock.activations) or "").parent  # type: ignore[attr-defined]
    declared: list[str] = []
    for file in sorted(folder.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Activation":
                keywords = {keyword.arg: keyword.value for keyword in node.keywords}
                if "trusted" not in keywords:
                    continue  # an example in a docstring or the copy made by unpickling
                assert {"formula", "value", "slope"} <= keywords.keys()
                assert isinstance(keywords["name"], ast.Constant)
                declared.append(str(keywords["name"].value))
    pointwise = [entry.name for entry in CATALOGUE if isinstance(entry, Activation)]
    assert sorted(declared) == sorted(pointwise)
    # Only members of one family with the same formula in other parameters share code: what is said, is said once.
    for entry in CATALOGUE:
        if isinstance(entry, Activation):
            assert Path(inspect.getsourcefile(entry.value) or "").parent == folder
            assert Path(inspect.getsourcefile(entry.slope) or "").parent == folder


def test_no_other_module_computes_an_activation() -> None:
    """Nothing else in the package holds a second formula: kernels read the declarations or a generated table."""
    assert "torch.nn.functional" not in "".join(
        file.read_text()
        for file in Path(inspect.getsourcefile(hillock.activations) or "").parent.glob("*.py")  # type: ignore[attr-defined]
    )


def test_near_misses_and_aggregates() -> None:
    with pytest.raises(UnknownNameError, match="gelu"):
        find("gelo")
    with pytest.raises(UsageError, match=r"hillock\.layers\.maxout\.Maxout"):
        find("maxout")
    assert find(find("relu")) is find("relu")
    assert isinstance(catalogue()["glu"], Card)
    with pytest.raises(TypeError):
        catalogue()["mine"] = find("relu")  # type: ignore[index]


def test_importing_the_declarations_is_cheap() -> None:
    """No SymPy, SciPy or mpmath until a formula is needed."""
    import subprocess

    code = (
        "import sys, torch; before = set(sys.modules); import hillock; layer = hillock.activation('gelu');"
        "layer(torch.ones(2)); new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(new & {'sympy', 'mpmath', 'scipy', 'rich', 'plotly'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
