"""Cards of the aggregates: layers that mix several numbers into one, so no φ(x) of a single number exists."""

from __future__ import annotations

from hillock.activations import sources
from hillock.activations.declaration import Card

MAXOUT = Card(
    name="maxout",
    formula=r"h(x) = \max_{j \le k} \left(W_j x + b_j\right)",
    plain="max over j <= k of (W_j x + b_j)",
    family="aggregate",
    layer="hillock.layers.maxout.Maxout",
    source=sources.GOODFELLOW,
    functional="maxout",
    options={"pieces": 2},
    remarks=(
        "k linear pieces, so k times the parameters of a plain layer (the study notes say twice, which is k = "
        "2). The paper "
        "uses k up to 5. Dense (MaxoutLinear) and convolutional (MaxoutConv2d).",
        "Pieces {x, 0} give ReLU, {x, -x} the absolute value. Any convex function can be approached.",
    ),
)
GLU = Card(
    name="glu",
    formula=r"(W x + b) \otimes \sigma(V x + c)",
    plain="(W x + b) ⊗ σ(V x + c)",
    family="aggregate",
    layer="hillock.layers.gate.Gate",
    source=sources.DAUPHIN,
    aliases=("gated_linear_unit",),
    functional="glu",
    options={"gate": "sigmoid"},
    remarks=(
        "The first half of the channels is linear, the second half gates, as in torch.nn.GLU.",
        "With both halves equal it is Swish.",
    ),
)
GTU = Card(
    name="gtu",
    formula=r"\tanh(W x + b) \otimes \sigma(V x + c)",
    plain="tanh(W x + b) ⊗ σ(V x + c)",
    family="aggregate",
    layer="hillock.layers.gate.Gate",
    source=sources.OORD,
    aliases=("gated_tanh_unit",),
    functional="gtu",
    options={"gate": "sigmoid", "linear": "tanh"},
    remarks=("The gate of PixelCNN and WaveNet; its gradient is damped twice, which is why GLU was proposed.",),
)
BILINEAR = Card(
    name="bilinear",
    formula=r"(W x + b) \otimes (V x + c)",
    plain="(W x + b) ⊗ (V x + c)",
    family="aggregate",
    layer="hillock.layers.gate.Gate",
    source=sources.MNIH_HINTON,
    aliases=("bilinear_glu",),
    functional="bilinear",
    options={"gate": "identity"},
    remarks=("GLU without the sigmoid; tried beside it by Dauphin et al. and by Shazeer.",),
)
REGLU = Card(
    name="reglu",
    formula=r"(W x + b) \otimes \max(0, V x + c)",
    plain="(W x + b) ⊗ max(0, V x + c)",
    family="aggregate",
    layer="hillock.layers.gate.Gate",
    source=sources.SHAZEER,
    functional="reglu",
    options={"gate": "relu"},
    remarks=("Shazeer writes the gated half first; here the first half is linear in all of them, as in torch.nn.GLU.",),
)
GEGLU = Card(
    name="geglu",
    formula=r"(W x + b) \otimes \mathrm{GELU}(V x + c)",
    plain="(W x + b) ⊗ GELU(V x + c)",
    family="aggregate",
    layer="hillock.layers.gate.Gate",
    source=sources.SHAZEER,
    functional="geglu",
    options={"gate": "gelu"},
    remarks=("The exact GELU; some implementations use the tanh form.",),
)
SWIGLU = Card(
    name="swiglu",
    formula=r"(W x + b) \otimes \mathrm{SiLU}(V x + c)",
    plain="(W x + b) ⊗ SiLU(V x + c)",
    family="aggregate",
    layer="hillock.layers.gate.Gate",
    source=sources.SHAZEER,
    functional="swiglu",
    options={"gate": "silu"},
    remarks=("The feed-forward gate of many language models. Code differs in which half is the gate.",),
)
CRELU = Card(
    name="crelu",
    formula=r"\left[\max(0, x), \max(0, -x)\right]",
    plain="[max(0, x), max(0, -x)]",
    family="aggregate",
    layer="hillock.layers.crelu.CReLU",
    source=sources.SHANG,
    aliases=("concatenated_relu",),
    functional="crelu",
    remarks=(
        "Doubles the channels, so the next layer has twice the inputs. Nothing is lost: the difference of the "
        "halves is x.",
        "The halves are joined along dimension 1 here (channels of torch), along the last one in tf.nn.crelu.",
    ),
)
SOFTMAX = Card(
    name="softmax",
    formula=r"\frac{e^{x_i}}{\sum_j e^{x_j}}",
    plain="e^x_i / Σ_j e^x_j",
    family="aggregate",
    layer="hillock.layers.softmax.Softmax",
    source=sources.BRIDLE,
    functional="softmax",
    remarks=(
        "Unchanged when a constant is added to all inputs; the largest is subtracted first, so nothing overflows.",
    ),
)
LOG_SOFTMAX = Card(
    name="log_softmax",
    formula=r"x_i - \log \sum_j e^{x_j}",
    plain="x_i - log Σ_j e^x_j",
    family="aggregate",
    layer="hillock.layers.softmax.LogSoftmax",
    source=sources.BRIDLE,
    functional="log_softmax",
    remarks=("What the cross-entropy loss takes; log(softmax(x)) would lose small probabilities.",),
)
DYNAMIC_RELU = Card(
    name="dynamic_relu",
    formula=r"y_c = \max_{k \le K} \left(a_c^k(x)\, x_c + b_c^k(x)\right)",
    plain="max over k of (a_k(x) x_c + b_k(x)), a and b computed from the whole input",
    family="aggregate",
    layer="hillock.layers.dynamic_relu.DynamicReLU",
    source=sources.CHEN_DYNAMIC,
    aliases=("dy_relu", "dyrelu"),
    options={"kind": "B", "pieces": 2, "reduction": 8},
    remarks=(
        "Slopes and offsets come from the whole input: average over places -> two small layers -> 2σ(.) - 1. "
        "a = (1, 0) + 1.0·Δ, b = (0, 0) + 0.5·Δ, so with Δ = 0 it is ReLU.",
        "Kind A shares them over channels, B has them per channel, C also weighs places by an attention map.",
    ),
)

CARDS = (
    MAXOUT,
    GLU,
    GTU,
    BILINEAR,
    REGLU,
    GEGLU,
    SWIGLU,
    CRELU,
    SOFTMAX,
    LOG_SOFTMAX,
    DYNAMIC_RELU,
)
