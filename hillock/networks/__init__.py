"""Networks by name, faithful to their papers, with any activation; the layer table.

Belongs here: one file a family of networks, each naming the paper, table and official code that it follows and where it
departs; the catalogue of names; weights in and out; the table of a network's layers.
Never here: data, training, or an activation as a function call: every activation site is a module of its own.
"""

from hillock.networks.base import ActivationSites, Network
from hillock.networks.catalogue import names, network
from hillock.networks.layer_table import LayerTable, Row, summarise
from hillock.networks.weights import load_weights, read_weights, save_weights

__all__ = [
    "ActivationSites",
    "LayerTable",
    "Network",
    "Row",
    "load_weights",
    "names",
    "network",
    "read_weights",
    "save_weights",
    "summarise",
]
