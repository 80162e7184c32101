"""HOW an activation is computed: the forward and backward pair, and what backward keeps.

`apply(activation, x, constants)` is the one door for layers and functionals; `slope` gives φ' without autograd. Which
path answers (native C++ library, Triton, reference) is decided here and nowhere else; `status()` says it.

What belongs here: kernels, their build, autograd and transforms, the plan of what is kept for backward, lean mode.
What never does: what a function *is* (`activations`), modules (`layers`), anything that knows of networks or data.
"""

from hillock.kernels.dispatch import apply, settled, slope
from hillock.kernels.lean import lean
from hillock.kernels.plan import saved_plan
from hillock.kernels.setting import precision
from hillock.kernels.status import status

__all__ = ["apply", "lean", "precision", "saved_plan", "settled", "slope", "status"]
