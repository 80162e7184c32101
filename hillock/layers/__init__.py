"""Modules made of activations, and the small layers that live next to them.

    activation_layer.py    one activation at one call site: `activation("gelu")`, `act_layer("mish")`
    drawn.py               random slopes from a counter, kept in the state dict (RReLU)
    recognise.py           which activation is this module? (ours, torch.nn's, timm's)
    replace.py, unseen.py  put other activations into any model; find the calls that cannot be replaced
    maxout.py, gate.py, crelu.py, softmax.py, dynamic_relu.py    aggregates: layers that mix several numbers into one
    convolution.py, initialisation.py, response_norm.py, ...     what surrounds activations in a network

What belongs here: `torch.nn.Module`s that several networks share. What never does: whole networks, formulas (they are
declared in `activations`), arithmetic that is worth a kernel.
"""
