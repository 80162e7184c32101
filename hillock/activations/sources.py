"""Every paper that the catalogue cites, once."""

from __future__ import annotations

from hillock.activations.parts import Source

MCCULLOCH_PITTS = Source(
    ("McCulloch, Warren S.", "Pitts, Walter"),
    1943,
    "A logical calculus of the ideas immanent in nervous activity",
    "Bulletin of Mathematical Biophysics 5",
    "doi:10.1007/BF02478259",
)
ROSENBLATT = Source(
    ("Rosenblatt, Frank",),
    1958,
    "The perceptron: a probabilistic model for information storage and organization in the brain",
    "Psychological Review 65",
    "doi:10.1037/h0042519",
)
RUMELHART = Source(
    ("Rumelhart, David E.", "Hinton, Geoffrey E.", "Williams, Ronald J."),
    1986,
    "Learning representations by back-propagating errors",
    "Nature 323",
    "doi:10.1038/323533a0",
)
LECUN_KANTER_SOLLA = Source(
    ("LeCun, Yann", "Kanter, Ido", "Solla, Sara A."),
    1991,
    "Second order properties of error surfaces: learning time and generalization",
    "Advances in Neural Information Processing Systems 3",
)
NAIR_HINTON = Source(
    ("Nair, Vinod", "Hinton, Geoffrey E."),
    2010,
    "Rectified linear units improve restricted Boltzmann machines",
    "ICML",
)
MAAS = Source(
    ("Maas, Andrew L.", "Hannun, Awni Y.", "Ng, Andrew Y."),
    2013,
    "Rectifier nonlinearities improve neural network acoustic models",
    "ICML workshop on deep learning for audio, speech and language processing",
)
HE_PRELU = Source(
    ("He, Kaiming", "Zhang, Xiangyu", "Ren, Shaoqing", "Sun, Jian"),
    2015,
    "Delving deep into rectifiers: surpassing human-level performance on ImageNet classification",
    "ICCV",
    "arXiv:1502.01852",
)
CLEVERT = Source(
    ("Clevert, Djork-Arné", "Unterthiner, Thomas", "Hochreiter, Sepp"),
    2015,
    "Fast and accurate deep network learning by exponential linear units (ELUs)",
    "ICLR 2016",
    "arXiv:1511.07289",
)
KLAMBAUER = Source(
    ("Klambauer, Günter", "Unterthiner, Thomas", "Mayr, Andreas", "Hochreiter, Sepp"),
    2017,
    "Self-normalizing neural networks",
    "NeurIPS",
    "arXiv:1706.02515",
)
HENDRYCKS = Source(
    ("Hendrycks, Dan", "Gimpel, Kevin"),
    2016,
    "Gaussian error linear units (GELUs)",
    identifier="arXiv:1606.08415",
)
ELFWING = Source(
    ("Elfwing, Stefan", "Uchibe, Eiji", "Doya, Kenji"),
    2017,
    "Sigmoid-weighted linear units for neural network function approximation in reinforcement learning",
    "Neural Networks 107",
    "arXiv:1702.03118",
)
RAMACHANDRAN = Source(
    ("Ramachandran, Prajit", "Zoph, Barret", "Le, Quoc V."),
    2017,
    "Searching for activation functions",
    identifier="arXiv:1710.05941",
)
MISRA = Source(
    ("Misra, Diganta",),
    2019,
    "Mish: a self regularized non-monotonic activation function",
    "BMVC 2020",
    "arXiv:1908.08681",
)
DUGAS = Source(
    ("Dugas, Charles", "Bengio, Yoshua", "Bélisle, François", "Nadeau, Claude", "Garcia, René"),
    2001,
    "Incorporating second-order functional knowledge for better option pricing",
    "Advances in Neural Information Processing Systems 13",
)
