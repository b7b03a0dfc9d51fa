"""
Modules within harmless ones, and objects and classes in them, whose public names do no harm either.

Data alone, for :mod:`caesarion.agent.risk.names`.
"""

from caesarion.agent.risk.table import words

SUBMODULES = words(
    """
    altair.data altair.data_transformers altair.theme altair.themes bokeh.io bokeh.layouts
    bokeh.models bokeh.palettes bokeh.plotting collections.abc datetime.date datetime.datetime
    email.message email.mime html.entities html.parser IPython.display jax.nn jax.numpy jax.random
    json.decoder json.encoder keras.callbacks keras.layers keras.losses keras.metrics keras.models
    keras.optimizers keras.utils lightgbm.callback logging.handlers lxml.etree lxml.html
    matplotlib.animation matplotlib.axes matplotlib.cm matplotlib.collections matplotlib.colormaps
    matplotlib.colors matplotlib.dates matplotlib.figure matplotlib.font_manager
    matplotlib.gridspec matplotlib.image matplotlib.lines matplotlib.patches matplotlib.path
    matplotlib.pyplot matplotlib.pyplot.cm matplotlib.pyplot.rcParams matplotlib.pyplot.style
    matplotlib.rcParams matplotlib.style matplotlib.text matplotlib.ticker matplotlib.transforms
    mpl_toolkits.axes_grid1 mpl_toolkits.mplot3d networkx.algorithms networkx.algorithms.community
    networkx.community networkx.drawing nltk.corpus nltk.corpus.stopwords nltk.corpus.wordnet
    nltk.sentiment nltk.stem nltk.tokenize numpy.char numpy.emath numpy.fft
    numpy.lib.stride_tricks numpy.linalg numpy.ma numpy.polynomial numpy.polynomial.polynomial
    numpy.random numpy.rec numpy.strings numpy.testing numpy.typing openpyxl.chart openpyxl.styles
    openpyxl.utils pandas.api pandas.api.extensions pandas.api.indexers pandas.api.types
    pandas.arrays pandas.errors pandas.io.formats.style pandas.offsets pandas.options
    pandas.options.display pandas.options.mode pandas.options.plotting pandas.plotting
    pandas.testing pandas.tseries pandas.tseries.frequencies pandas.tseries.holiday
    pandas.tseries.offsets PIL.Image PIL.ImageChops PIL.ImageColor PIL.ImageDraw PIL.ImageEnhance
    PIL.ImageFilter PIL.ImageFont PIL.ImageOps PIL.ImageStat plotly.colors
    plotly.colors.qualitative plotly.colors.sequential plotly.express plotly.express.colors
    plotly.express.colors.qualitative plotly.express.colors.sequential plotly.express.data
    plotly.figure_factory plotly.graph_objects plotly.graph_objs plotly.io plotly.io.templates
    plotly.subplots polars.col polars.datatypes polars.exceptions polars.selectors
    pyarrow.compute pyarrow.csv pyarrow.dataset pyarrow.feather pyarrow.parquet pyarrow.types
    scipy.cluster scipy.cluster.hierarchy scipy.cluster.vq scipy.constants scipy.fft scipy.fftpack
    scipy.integrate scipy.interpolate scipy.io scipy.io.arff scipy.io.wavfile scipy.linalg
    scipy.ndimage scipy.odr scipy.optimize scipy.signal scipy.signal.windows scipy.sparse
    scipy.sparse.csgraph scipy.sparse.linalg scipy.spatial scipy.spatial.distance
    scipy.spatial.transform scipy.special scipy.stats scipy.stats.distributions
    scipy.stats.mstats scipy.stats.qmc seaborn.objects shapely.geometry shapely.ops skimage.color
    skimage.data skimage.exposure skimage.feature skimage.filters skimage.graph skimage.io
    skimage.measure
    skimage.morphology skimage.segmentation skimage.transform skimage.util sklearn.base
    sklearn.calibration sklearn.cluster sklearn.compose sklearn.covariance
    sklearn.cross_decomposition sklearn.datasets sklearn.decomposition
    sklearn.discriminant_analysis sklearn.dummy sklearn.ensemble sklearn.exceptions
    sklearn.feature_extraction sklearn.feature_extraction.text sklearn.feature_selection
    sklearn.gaussian_process sklearn.gaussian_process.kernels sklearn.impute sklearn.inspection
    sklearn.isotonic sklearn.kernel_approximation sklearn.kernel_ridge sklearn.linear_model
    sklearn.manifold sklearn.metrics sklearn.metrics.pairwise sklearn.mixture
    sklearn.model_selection sklearn.multiclass sklearn.multioutput sklearn.naive_bayes
    sklearn.neighbors sklearn.neural_network sklearn.pipeline sklearn.preprocessing
    sklearn.random_projection sklearn.semi_supervised sklearn.svm sklearn.tree sklearn.utils
    sklearn.utils.class_weight statsmodels.api statsmodels.api.datasets statsmodels.api.families
    statsmodels.api.families.links statsmodels.api.graphics statsmodels.api.graphics.tsa
    statsmodels.api.stats statsmodels.api.tsa statsmodels.formula statsmodels.formula.api
    statsmodels.graphics statsmodels.graphics.tsaplots statsmodels.stats statsmodels.stats.anova
    statsmodels.stats.diagnostic statsmodels.stats.multicomp statsmodels.stats.multitest
    statsmodels.stats.outliers_influence statsmodels.stats.power statsmodels.stats.proportion
    statsmodels.stats.stattools statsmodels.stats.weightstats statsmodels.tsa statsmodels.tsa.api
    statsmodels.tsa.arima.model statsmodels.tsa.holtwinters statsmodels.tsa.seasonal
    statsmodels.tsa.statespace statsmodels.tsa.stattools sympy.abc sympy.physics sympy.plotting
    sympy.solvers sympy.stats tensorflow.data tensorflow.keras tensorflow.keras.callbacks
    tensorflow.keras.layers tensorflow.keras.losses tensorflow.keras.metrics
    tensorflow.keras.models tensorflow.keras.optimizers tensorflow.keras.utils tensorflow.linalg
    tensorflow.math tensorflow.nn tensorflow.random torch.autograd torch.backends
    torch.backends.cudnn torch.backends.mps torch.cuda torch.distributions torch.fft torch.linalg
    torch.nn torch.nn.functional torch.nn.init torch.nn.utils torch.optim torch.optim.lr_scheduler
    torch.special torch.utils torch.utils.data torchvision.datasets torchvision.models
    torchvision.transforms tqdm.auto tqdm.notebook tqdm.rich xml.dom xml.dom.minidom xml.etree
    xml.etree.ElementTree
    """
)
