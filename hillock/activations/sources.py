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
WIDROW_HOFF = Source(
    ("Widrow, Bernard", "Hoff, Marcian E."), 1960, "Adaptive switching circuits", "IRE WESCON Convention Record 4"
)
SHEEHAN = Source(
    ("Sheehan, David",),
    2017,
    "Visualising activation functions in neural networks",
    identifier="https://dashee87.github.io/deep%20learning/visualising-activation-functions-in-neural-networks/",
)
EFFICIENT_BACKPROP = Source(
    ("LeCun, Yann", "Bottou, Léon", "Orr, Genevieve B.", "Müller, Klaus-Robert"),
    1998,
    "Efficient BackProp",
    "Neural Networks: Tricks of the Trade",
    "doi:10.1007/3-540-49430-8_2",
)
BERGSTRA = Source(
    ("Bergstra, James", "Desjardins, Guillaume", "Lamblin, Pascal", "Bengio, Yoshua"),
    2009,
    "Quadratic polynomials learn better image features",
    "Technical report 1337, Université de Montréal",
)
COLLOBERT = Source(("Collobert, Ronan",), 2004, "Large scale machine learning", "PhD thesis, Université de Paris VI")
TORCH7 = Source(
    ("Collobert, Ronan", "Kavukcuoglu, Koray", "Farabet, Clément"),
    2011,
    "Torch7: a Matlab-like environment for machine learning",
    "BigLearn, NIPS workshop",
)
BINARY_CONNECT = Source(
    ("Courbariaux, Matthieu", "Bengio, Yoshua", "David, Jean-Pierre"),
    2015,
    "BinaryConnect: training deep neural networks with binary weights during propagations",
    "NeurIPS",
    "arXiv:1511.00363",
)
GULCEHRE = Source(
    ("Gulcehre, Caglar", "Moczulski, Marcin", "Denil, Misha", "Bengio, Yoshua"),
    2016,
    "Noisy activation functions",
    "ICML",
    "arXiv:1603.00391",
)
MOBILENET_V3 = Source(
    ("Howard, Andrew", "Sandler, Mark", "Chu, Grace", "Chen, Liang-Chieh", "Chen, Bo", "Tan, Mingxing", "others"),
    2019,
    "Searching for MobileNetV3",
    "ICCV",
    "arXiv:1905.02244",
)
GOMES_LUDERMIR = Source(
    ("Gomes, Gecynalda S. da S.", "Ludermir, Teresa B."),
    2008,
    "Complementary log-log and probit: activation functions implemented in artificial neural networks",
    "HIS",
    "doi:10.1109/HIS.2008.40",
)
XU_PENALISED = Source(
    ("Xu, Bing", "Huang, Ruitong", "Li, Mu"),
    2016,
    "Revise saturated activation functions",
    identifier="arXiv:1602.05980",
)
EGER = Source(
    ("Eger, Steffen", "Youssef, Paul", "Gurevych, Iryna"),
    2018,
    "Is it time to swish? Comparing deep learning activation functions across NLP tasks",
    "EMNLP",
    "arXiv:1901.02671",
)
KRIZHEVSKY_DBN = Source(
    ("Krizhevsky, Alex",),
    2010,
    "Convolutional deep belief networks on CIFAR-10",
    "University of Toronto",
)
XU_RRELU = Source(
    ("Xu, Bing", "Wang, Naiyan", "Chen, Tianqi", "Li, Mu"),
    2015,
    "Empirical evaluation of rectified activations in convolutional network",
    identifier="arXiv:1505.00853",
)
JIN_SRELU = Source(
    ("Jin, Xiaojie", "Xu, Chunyan", "Feng, Jiashi", "Wei, Yunchao", "Xiong, Junjun", "Yan, Shuicheng"),
    2015,
    "Deep learning with S-shaped rectified linear activation units",
    "AAAI 2016",
    "arXiv:1512.07030",
)
DONOHO = Source(
    ("Donoho, David L.", "Johnstone, Iain M."),
    1994,
    "Ideal spatial adaptation by wavelet shrinkage",
    "Biometrika 81",
    "doi:10.1093/biomet/81.3.425",
)
KONDA = Source(
    ("Konda, Kishore", "Memisevic, Roland", "Krueger, David"),
    2014,
    "Zero-bias autoencoders and the benefits of co-adapting features",
    "ICLR 2015",
    "arXiv:1402.3337",
)
JARRETT = Source(
    ("Jarrett, Kevin", "Kavukcuoglu, Koray", "Ranzato, Marc'Aurelio", "LeCun, Yann"),
    2009,
    "What is the best multi-stage architecture for object recognition?",
    "ICCV",
    "doi:10.1109/ICCV.2009.5459469",
)
BARRON = Source(
    ("Barron, Jonathan T.",),
    2017,
    "Continuously differentiable exponential linear units",
    identifier="arXiv:1704.07483",
)
PADDLE = Source(
    ("PaddlePaddle authors",),
    2018,
    "soft_relu, in the reference of paddle.fluid.layers",
    identifier="https://github.com/PaddlePaddle/Paddle",
)
PRIMER = Source(
    ("So, David R.", "Mańke, Wojciech", "Liu, Hanxiao", "Dai, Zihang", "Shazeer, Noam", "Le, Quoc V."),
    2021,
    "Primer: searching for efficient transformers for language modeling",
    "NeurIPS",
    "arXiv:2109.08668",
)
SU = Source(
    ("Su, Jianlin",),
    2017,
    "On the design of activation functions (in Chinese)",
    identifier="https://kexue.fm/archives/4647",
)
BASIRAT_ROTH = Source(
    ("Basirat, Mina", "Roth, Peter M."),
    2018,
    "The quest for the golden activation function",
    identifier="arXiv:1808.00783",
)
MA_ACON = Source(
    ("Ma, Ningning", "Zhang, Xiangyu", "Liu, Ming", "Sun, Jian"),
    2020,
    "Activate or not: learning customized activation",
    "CVPR 2021",
    "arXiv:2009.04759",
)
BISWAS_SMU = Source(
    ("Biswas, Koushik", "Kumar, Sandeep", "Banerjee, Shilpak", "Pandey, Ashish Kumar"),
    2021,
    "SMU: smooth activation function for deep networks using smoothing maximum technique",
    "CVPR 2022",
    "arXiv:2111.04682",
)
AGOSTINELLI = Source(
    ("Agostinelli, Forest", "Hoffman, Matthew", "Sadowski, Peter", "Baldi, Pierre"),
    2014,
    "Learning activation functions to improve deep neural networks",
    "ICLR 2015 workshop",
    "arXiv:1412.6830",
)
MOLINA_PAU = Source(
    ("Molina, Alejandro", "Schramowski, Patrick", "Kersting, Kristian"),
    2019,
    "Padé activation units: end-to-end learning of flexible activation functions in deep networks",
    "ICLR 2020",
    "arXiv:1907.06732",
)
SIREN = Source(
    ("Sitzmann, Vincent", "Martel, Julien N. P.", "Bergman, Alexander W.", "Lindell, David B.", "Wetzstein, Gordon"),
    2020,
    "Implicit neural representations with periodic activation functions",
    "NeurIPS",
    "arXiv:2006.09661",
)
BROOMHEAD_LOWE = Source(
    ("Broomhead, David S.", "Lowe, David"),
    1988,
    "Multivariable functional interpolation and adaptive networks",
    "Complex Systems 2",
)
GOODFELLOW = Source(
    ("Goodfellow, Ian J.", "Warde-Farley, David", "Mirza, Mehdi", "Courville, Aaron", "Bengio, Yoshua"),
    2013,
    "Maxout networks",
    "ICML",
    "arXiv:1302.4389",
)
DAUPHIN = Source(
    ("Dauphin, Yann N.", "Fan, Angela", "Auli, Michael", "Grangier, David"),
    2016,
    "Language modeling with gated convolutional networks",
    "ICML 2017",
    "arXiv:1612.08083",
)
OORD = Source(
    (
        "van den Oord, Aäron",
        "Kalchbrenner, Nal",
        "Vinyals, Oriol",
        "Espeholt, Lasse",
        "Graves, Alex",
        "Kavukcuoglu, Koray",
    ),
    2016,
    "Conditional image generation with PixelCNN decoders",
    "NeurIPS",
    "arXiv:1606.05328",
)
MNIH_HINTON = Source(
    ("Mnih, Andriy", "Hinton, Geoffrey E."),
    2007,
    "Three new graphical models for statistical language modelling",
    "ICML",
    "doi:10.1145/1273496.1273577",
)
SHAZEER = Source(("Shazeer, Noam",), 2020, "GLU variants improve transformer", identifier="arXiv:2002.05202")
SHANG = Source(
    ("Shang, Wenling", "Sohn, Kihyuk", "Almeida, Diogo", "Lee, Honglak"),
    2016,
    "Understanding and improving convolutional neural networks via concatenated rectified linear units",
    "ICML",
    "arXiv:1603.05201",
)
BRIDLE = Source(
    ("Bridle, John S.",),
    1990,
    "Probabilistic interpretation of feedforward classification network outputs, with relationships to statistical "
    "pattern recognition",
    "Neurocomputing",
    "doi:10.1007/978-3-642-76153-9_28",
)
CHEN_DYNAMIC = Source(
    ("Chen, Yinpeng", "Dai, Xiyang", "Liu, Mengchen", "Chen, Dongdong", "Yuan, Lu", "Liu, Zicheng"),
    2020,
    "Dynamic ReLU",
    "ECCV",
    "arXiv:2003.10027",
)
