"""
Names whose class is known, by which code is judged.

Data alone. What is not named here is judged by rules that in doubt choose the more dangerous
class.
"""

import builtins
import sys
from collections.abc import Mapping

from caesarion.events import RiskClass


def words(text: str) -> frozenset[str]:
    """Return the words of ``text``."""
    return frozenset(text.split())


def _table(**names: str) -> dict[str, RiskClass]:
    """Return names, which stand in one string for each class, by name."""
    classes: dict[str, RiskClass] = {
        "reads": "reads",
        "writes_names": "writes names",
        "files": "files",
        "network": "network",
        "processes": "processes",
        "installs": "installs",
    }
    return {name: classes[key] for key, text in names.items() for name in text.split()}


MODULES: Mapping[str, RiskClass] = _table(
    reads="""
        os.path os.getcwd os.listdir os.scandir os.walk os.stat os.lstat os.getenv os.environ
        os.cpu_count os.sep os.linesep os.name os.getpid os.access os.fspath os.PathLike os.uname
        os.get_terminal_size os.getloadavg os.pathsep math re json time random datetime
        collections itertools functools glob pathlib io csv statistics zipfile tarfile gzip
        sys.version sys.version_info sys.platform sys.path sys.executable sys.argv sys.maxsize
        sys.getsizeof sys.stdout sys.stderr sys.stdin sys.byteorder sys.float_info sys.prefix
        sys.getrecursionlimit sys.implementation sys.flags yaml.dump yaml.safe_dump pickle.dumps
        json.dumps json.loads json.load importlib.metadata importlib.resources.files
        tempfile.gettempdir shutil.disk_usage shutil.which shutil.get_terminal_size urllib.parse
        http.HTTPStatus webbrowser.Error asyncio.sleep asyncio.gather asyncio.wait_for
        asyncio.create_task asyncio.timeout asyncio.Queue asyncio.Lock asyncio.Event
        asyncio.Semaphore asyncio.TaskGroup yaml.safe_load sqlite3.Row psutil.virtual_memory
        psutil.cpu_percent psutil.disk_usage psutil.cpu_count PIL.Image.open
        IPython.display.Image.open
    """,
    writes_names="""
        random.seed numpy.random.seed sys.setrecursionlimit gc random.shuffle
        numpy.random.shuffle numpy.put numpy.copyto numpy.place numpy.putmask
        numpy.fill_diagonal numpy.put_along_axis operator.iadd operator.iand operator.iconcat
        operator.ifloordiv operator.ilshift operator.imatmul operator.imod operator.imul
        operator.ior operator.ipow operator.irshift operator.isub operator.itruediv operator.ixor
        heapq.heappush heapq.heappop heapq.heapify heapq.heapreplace heapq.heappushpop
        bisect.insort bisect.insort_left bisect.insort_right
    """,
    files="""
        os.remove os.unlink os.rename os.renames os.replace os.mkdir os.makedirs os.rmdir
        os.removedirs os.chmod os.chown os.link os.symlink os.truncate os.utime os.mknod os.mkfifo
        os.open os.write os.chdir shutil tempfile fileinput sqlite3 dbm shelve mmap pickle.dump
        pickle.Pickler h5py netCDF4 duckdb.connect logging.FileHandler logging.basicConfig
        nbformat.write numpy.memmap matplotlib.backends pyarrow.output_stream
        pyarrow.create_memory_map pyarrow.fs matplotlib.image.thumbnail nbformat.sign py_compile
        compileall zipapp mailbox readline
    """,
    network="""
        requests urllib urllib3 httpx httpx2 aiohttp websocket websockets socket socketserver ssl
        http ftplib smtplib poplib imaplib telnetlib xmlrpc paramiko fabric boto3 botocore s3fs
        gcsfs fsspec openai anthropic kaggle datasets huggingface_hub yfinance wget gdown psycopg
        psycopg2 pymysql asyncpg redis pymongo sqlalchemy google googleapiclient gspread tweepy
        praw wikipedia bs4.urlopen asyncio.open_connection asyncio.start_server
        seaborn.load_dataset nltk.download webbrowser torch.hub pandas_datareader wbdata
        sklearn.datasets.fetch_openml sklearn.datasets.fetch_california_housing
        sklearn.datasets.fetch_20newsgroups astropy.utils.data numpy.DataSource transformers mlflow
        IPython.display.YouTubeVideo IPython.display.VimeoVideo wandb ibis geopy osmnx
        nntplib wsgiref earthaccess pooch ftputil selenium playwright scrapy logging.handlers
        statsmodels.datasets.get_rdataset statsmodels.api.datasets.get_rdataset
    """,
    processes="""
        os os.environ.update os.environ.setdefault os.environ.pop os.environ.clear
        os.environ.popitem sys sys.path.append sys.path.insert sys.path.extend sys.path.remove
        subprocess multiprocessing pty ctypes cffi _ctypes importlib imp runpy code codeop signal
        atexit threading _thread concurrent.futures asyncio joblib.Parallel joblib.load pickle
        dill cloudpickle marshal shelve.open yaml builtins gc.get_objects inspect.currentframe
        numpy.ctypeslib numpy.lib.format IPython.display.publish_display_data
        torch.load pandas.read_pickle pandas.eval numexpr posix nt pexpect sh
        psutil faulthandler resource fcntl site sitecustomize usercustomize IPython.get_ipython
        IPython.display.Javascript IPython.core ipykernel jupyter_client jupyter_server
        antigravity cProfile.run profile.run timeit pdb trace bdb doctest unittest
        types.FunctionType types.CodeType types.ModuleType zipimport pkgutil.get_loader dask ray
        pyspark numba pydoc cgitb numpy.f2py numpy.distutils numpy.testing.runstring
        numpy.testing.rundocs numpy.testing.measure sympy.sympify
        sympy.parse_expr sympy.parsing operator.methodcaller
        pkgutil.resolve_name logging.config typing.ForwardRef typing.get_type_hints
        inspect.getmodule inspect.getattr_static spacy.cli
        operator.setitem operator.delitem operator.call types.new_class types.prepare_class
        types.MethodType xml.sax IPython.utils platform.architecture platform.processor
        matplotlib.testing inspect.get_annotations networkx.read_gpickle distutils _posixsubprocess
    """,
    installs="""
        pip micropip piplite ensurepip conda venv nbextension
    """,
)
"""Classes of modules and of names in them; the longest name that is found counts."""

HARMLESS = words(
    """
    numpy pandas scipy matplotlib mpl_toolkits seaborn sklearn statsmodels polars pyarrow plotly
    altair bokeh networkx sympy duckdb tabulate dateutil pytz tqdm PIL skimage cv2 IPython
    ipywidgets xarray geopandas shapely bs4 lxml openpyxl nltk spacy gensim textblob wordcloud
    torch torchvision tensorflow keras jax xgboost lightgbm catboost shap umap hdbscan joblib yaml
    pydantic attrs attr toolz cycler packaging six typing_extensions nbformat astropy lifelines
    pingouin missingno folium graphviz pygments rich humanize regex unidecode
    """
)
"""Modules of others that do no harm by themselves; those of the standard library do not either."""

STARTING = words("antigravity idlelib turtledemo")
"""Modules that start a program when they are imported."""

WORDS = words("code signal trace resource site profile sh nt imp venv google six datasets")
"""Modules whose names are as likely those of variables, unless the code imports them."""

STANDARD = sys.stdlib_module_names

ALSO_FUNCTIONS = words(
    """
    abc array bisect calendar copy datetime glob inspect io platform pprint random resource select
    statistics time trace types typing
    """
)
"""Modules of the standard library whose names functions and modules of others have, too."""

ALIASES: Mapping[str, str] = {
    "pd": "pandas",
    "np": "numpy",
    "plt": "matplotlib.pyplot",
    "mpl": "matplotlib",
    "sns": "seaborn",
    "pl": "polars",
    "pa": "pyarrow",
    "pq": "pyarrow.parquet",
    "px": "plotly.express",
    "go": "plotly.graph_objects",
    "alt": "altair",
    "nx": "networkx",
    "sp": "scipy",
    "sm": "statsmodels.api",
    "smf": "statsmodels.formula.api",
    "tf": "tensorflow",
    "xr": "xarray",
    "gpd": "geopandas",
    "dt": "datetime",
}
"""The names under which modules are commonly imported, maybe in an earlier cell."""

FUNCTIONS: Mapping[str, str] = {
    "Path": "pathlib.Path",
    "HTML": "IPython.display.HTML",
    "Markdown": "IPython.display.Markdown",
    "Image": "IPython.display.Image",
    "display": "IPython.display.display",
    "Counter": "collections.Counter",
    "defaultdict": "collections.defaultdict",
    "namedtuple": "collections.namedtuple",
    "deque": "collections.deque",
    "datetime": "datetime.datetime",
    "timedelta": "datetime.timedelta",
    "Decimal": "decimal.Decimal",
    "Fraction": "fractions.Fraction",
    "partial": "functools.partial",
    "reduce": "functools.reduce",
}
"""Functions and classes that are commonly imported by name, maybe in an earlier cell."""

BUILTINS: Mapping[str, RiskClass] = {
    **dict.fromkeys(dir(builtins), "reads"),
    **_table(
        writes_names="setattr delattr",
        processes="""
    eval exec compile __import__ __builtins__ __loader__ __spec__ __build_class__ breakpoint exit
    quit get_ipython In Out
""",
    ),
}
"""What a mention of a builtin means; ``open`` and ``getattr`` have rules of their own."""

PASSED: Mapping[str, RiskClass] = {
    "open": "files",
    **dict.fromkeys(words("getattr setattr delattr globals locals vars help"), "processes"),
}
"""What a mention of a builtin means that others may call, with arguments that are not seen."""

_TYPES = (str, bytes, frozenset, tuple, float, range)

METHODS: Mapping[str, RiskClass] = {
    **{name: "reads" for kind in _TYPES for name in dir(kind)},
    **_table(
        # Methods that change nothing, of collections, arrays, tables, paths, models and plots.
        reads="""
        keys values items get copy head tail sample describe info groupby agg aggregate apply map
        applymap pipe transform filter mean median std var sum min max prod cumsum cumprod cummax
        cummin diff pct_change quantile mode skew kurt sem nunique unique value_counts corr cov
        corrwith rank round abs clip dropna fillna ffill bfill interpolate isna isnull notna
        notnull isin between where mask any all idxmax idxmin nlargest nsmallest sort_values
        sort_index reset_index set_index reindex rename rename_axis drop drop_duplicates
        duplicated merge join concat assign astype convert_dtypes pivot pivot_table melt stack
        unstack explode crosstab cut qcut rolling expanding ewm resample asfreq shift tz_localize
        tz_convert iterrows itertuples select_dtypes filter memory_usage squeeze to_numpy to_list
        tolist to_dict to_frame to_series to_datetime to_timedelta to_period to_timestamp
        to_records to_pandas to_arrow to_pydatetime nth first last size ngroups get_group
        get_dummies equals compare combine_first dot T transpose strftime strptime isoformat date
        time weekday isocalendar now today year month day total_seconds timestamp fromisoformat dt
        cat contains extract findall fullmatch cat len reshape flatten ravel argmax argmin argsort
        nonzero searchsorted ptp conj item swapaxes repeat take choose trace diagonal cross eigh
        norm predict predict_proba score decision_function get_params get_feature_names_out
        inverse_transform summary conf_int pvalues params resid fittedvalues read readline
        readlines read_text read_bytes exists is_file is_dir glob rglob iterdir stat resolve
        close flush seek tell
        absolute relative_to with_suffix with_name joinpath expanduser parent parents name stem
        suffix as_posix samefile plot hist bar barh scatter line boxplot violinplot pie imshow
        contour heatmap legend grid annotate text axhline axvline fill_between tick_params twinx
        tight_layout subplots add_subplot suptitle autofmt_xdate show colorbar invert_yaxis
        bar_label step errorbar stem hexbin kde area density set_title set_xlabel set_ylabel
        set_xlim set_ylim set_xticks set_yticks set_xticklabels set_yticklabels set_aspect
        set_label set_visible get_legend_handles_labels get_figure fetchall fetchone fetchdf
        fetchnumpy df arrow schema columns dtypes shape collect lazy select with_columns group_by
        over alias sort limit most_common elements total namelist infolist format style
        highlight_max highlight_min background_gradient group groups span search reduce
        accumulate outer from_iterable fromtimestamp utcnow combine cdf pdf pmf ppf sf isf
        logpdf rvs interval
    """,
        writes_names="fit update",
        files="""
        write writelines write_text write_bytes unlink rmdir mkdir touch symlink_to hardlink_to
        link_to chmod lchmod truncate savefig save save_model savez savez_compressed savetxt
        imsave imwrite dump write_image write_html write_json write_csv write_parquet write_excel
        to_ipc write_ipc export_database write_ndjson write_delta sink_csv sink_parquet sink_ipc
        sink_ndjson write_table
        writeto writerow writerows writeheader writestr extractall tofile to_parquet to_excel
        to_pickle to_feather to_hdf to_stata to_orc to_file to_netcdf to_zarr ExcelWriter HDFStore
        savemat to_disk makedirs removedirs rmtree copyfile copytree copy2 copyfileobj move
    """,
        network="""
        urlopen urlretrieve post patch request connect create_connection sendall sendto recv
        sendmail login to_sql to_gbq read_gbq read_clipboard read_database read_database_uri
        read_sql_table register_filesystem download
        download_file upload
        upload_file urlfetch push_to_hub from_pretrained listen accept
    """,
        processes="""
        system popen popen2 popen3 Popen check_output check_call call run getoutput
        getstatusoutput spawnl spawnle spawnlp spawnv spawnve spawnvp posix_spawn execl execle
        execlp execv execve execvp execvpe fork forkpty kill killpg run_line_magic run_cell_magic
        run_cell system_raw run_code import_module reload load_module exec_module LoadLibrary CDLL
        cdll windll getrefcount _getframe modules meta_path path_hooks settrace setprofile
        unsafe_load full_load read_pickle register_magic_function Process Pool Thread submit
        exec builtins bltns apply_async terminate install_extension load_extension
        create_subprocess_exec create_subprocess_shell run_in_executor
    """,
    ),
}
"""
What methods of those names do, whatever has them. Any other method may change what it is of.

A name that stands in two groups has the later, more dangerous class.
"""

WITH_TARGET = words("to_csv to_json to_html to_latex to_markdown to_xml to_string to_clipboard")
"""Methods that return a text, or write a file where they are given one."""

TARGETS = words("path_or_buf path_or_buffer buf fname")
"""The arguments by which they are given one."""

SQL = words(
    "execute executemany executescript sql sql_expr read_sql read_sql_query query_df from_query "
    "extract_statements get_table_names from_substrait from_substrait_json"
)
"""Methods and functions whose first argument is SQL."""

READERS = words(
    """
    read_csv read_table read_excel read_json read_html read_xml read_parquet read_feather read_fwf
    read_orc read_stata read_sas read_spss read_hdf scan_csv scan_parquet scan_ndjson read_ipc
    read_ndjson loadtxt genfromtxt imread read_file open_dataset open_dataarray open_mfdataset
    open_zarr ExcelFile from_csv_auto from_parquet
    """
)
"""Functions that read a file, or an address."""

LOCAL = words(
    """
    pathlib.Path io.StringIO io.BytesIO glob.glob glob.iglob os.path.join os.path.abspath
    os.path.expanduser os.listdir os.getcwd
    """
)
"""Functions whose results are no addresses."""

KEEPING = words("os.path.join os.path.expanduser")
"""Those of them whose results are addresses if they are given one."""

LOCAL_METHODS = words(
    """
    glob rglob iterdir joinpath with_suffix with_name resolve absolute expanduser relative_to
    """
)

OPENING = words(
    "io.open codecs.open gzip.open bz2.open lzma.open h5py.File zipfile.ZipFile tarfile.open "
    "io.FileIO gzip.GzipFile bz2.BZ2File lzma.LZMAFile zipfile.PyZipFile tarfile.TarFile "
    "tarfile.TarFile.open tarfile.TarFile.taropen tarfile.TarFile.gzopen tarfile.TarFile.bz2open "
    "tarfile.TarFile.xzopen pyarrow.OSFile pyarrow.memory_map"
)
"""Functions that open a file, in the mode that is their second argument."""

DATABASES = words("duckdb.connect sqlite3.connect")
"""Functions that open a database, in memory or in a file."""

MARKUP = words(
    "IPython.display.HTML IPython.display.SVG IPython.display.Markdown IPython.display.Latex "
    "IPython.display.Math ipywidgets.HTML ipywidgets.HTMLMath"
)
"""What may bring scripts into the user's page, or load what its markup names."""

SHOWN = words(
    "width height format embed filename data url alt metadata retina rate autoplay normalize "
    "language expanded mimetype wait display_id clear include exclude"
)
"""The arguments of what is shown that are no markup, or are looked at."""

STYLES = words(
    "matplotlib.style.use matplotlib.pyplot.style.use matplotlib.style.context "
    "matplotlib.pyplot.style.context"
)
"""What takes a style by its name, from a file, or from an address."""

SWITCHES = words("matplotlib.use matplotlib.pyplot.switch_backend")
"""What takes a backend by the name of its module."""

SETTINGS = SWITCHES | words(
    "matplotlib.rc matplotlib.pyplot.rc matplotlib.rc_context matplotlib.pyplot.rc_context "
    "matplotlib.rcParams.update matplotlib.pyplot.rcParams.update matplotlib.rc_file "
    "matplotlib.rcParams.setdefault matplotlib.pyplot.rcParams.setdefault pandas.set_option "
    "pandas.option_context"
)
"""What takes settings by their names, some of which import a module or start a program."""

PLAIN_SETTINGS = words(
    """
    figure axes axes3d lines font legend xtick ytick grid savefig image patch hist scatter boxplot
    errorbar date contour markers mathtext pdf svg ps display mode styler compute future xaxis
    yaxis polaraxes hatch max_rows max_columns max_colwidth precision
    """
)
"""How the names of settings begin that import and start nothing."""

NAMING = words("backend engine plugin renderer renderers parallel_backend default_renderer")
"""Arguments and attributes that name a module, or a plugin."""

ENGINES = words(
    """
    c python python-fwf pyarrow fastparquet auto openpyxl xlrd odf pyxlsb calamine xlsxwriter
    numexpr cython numba lxml h5netcdf netcdf4 scipy zarr loky threading multiprocessing matplotlib
    plotly bokeh agg cairo inline svg pdf ps png jpeg notebook jupyterlab nbagg widget streaming
    in-memory gpu cpu xlsx2csv module://matplotlib_inline.backend_inline default html mimetype
    """
)
"""Backends, engines and renderers that are known, in lower case."""

REMOTE = words("stylesheet filesystem storage_options proxy proxies")
"""Arguments by which what is read comes from elsewhere."""

SCHEMES = words(
    """
    http https ftp ftps sftp ssh scp smb s3 s3a s3n gs gcs abfs abfss adl az azure wasb wasbs hf
    hdfs webhdfs arrow_hdfs webdav dav davs git github gitlab gist dvc dbfs dropbox gdrive google
    jupyter jlab lakefs oci oss obs oss r2 ipfs box boxfs root xrd dask data file local memory
    reference libarchive zip tar filecache blockcache simplecache cached generic asynclocal
    asyncwrapper ws wss tos tosfs pyscript
    """
)
"""How addresses begin, for those who open them."""

AGGREGATES = words(
    """
    mean sum min max count size std var median nunique first last prod product sem skew kurt any
    all mode quantile idxmin idxmax cumsum cumprod cummax cummin cumcount ngroup diff pct_change
    rank shift ffill bfill fillna describe unique head tail nth abs round len str int float bool
    sqrt exp log log2 log10 log1p square ohlc mad upper lower strip title value_counts isna notna
    corr cov
    """
)
"""Functions that a table may apply by name: they neither write nor call anything."""

AGGREGATIONS = words("agg aggregate")
NAMED = words("apply transform")
"""Methods that take a function by its name."""

JUDGED = (
    words("eval query loads load_model read_sql map starmap")
    | AGGREGATIONS
    | NAMED
    | SQL
    | words("subs evalf integrate solve")
)
"""Methods that are judged by their arguments, and so not to be called by others."""

JUDGED_PATHS = (
    OPENING | DATABASES | STYLES | SETTINGS | MARKUP | words("pandas.set_option numpy.load")
)
"""What is so in modules."""

CONSTANTS = words("pi E I oo zoo nan GoldenRatio EulerGamma Catalan S.Half S.One S.Zero")
"""What of SymPy is no function."""

AGGREGATING = words("aggfunc estimator")
OPTIONS = words(
    "axis engine inplace parser target global_dict local_dict level numeric_only raw result_type "
    "result engine_kwargs skipna ddof interpolation maintain_order"
)

EVALUATING = words("subs evalf integrate series limit coeff collect equals has solve")
"""Methods that evaluate a text, if it has a call in it."""

RELATIONS = words("filter project aggregate order sort join select sql_expr")
"""Methods of databases, too, whose texts are expressions in SQL."""

NAMERS = words("symbols Symbol Dummy Wild Function Idx IndexedBase MatrixSymbol UndefinedFunction")
"""What of SymPy takes a text for a name."""

PRINTERS = words(
    "latex pretty srepr sstr sstrrepr mathml ccode pycode fcode jscode octave_code python str "
    "rust_code julia_code print_latex dotprint"
)
"""What of modules for mathematics returns a text."""

FORMULA = words(
    """
    C I Q bs cr cc te center scale standardize poly Poly Sum Treatment Diff Helmert log log10 log2
    log1p exp sqrt abs np.log np.log10 np.log2 np.log1p np.exp np.expm1 np.sqrt np.abs np.power
    np.square np.sin np.cos np.maximum np.minimum
    """
)
"""Functions in a model's formula."""

WRITERS = words("csv.writer csv.DictWriter")
"""Functions that write where they are told, and open nothing."""

CALLERS: Mapping[str, int] = {
    **dict.fromkeys(
        words(
            """
            map filter functools.reduce functools.partial itertools.starmap itertools.takewhile
            itertools.dropwhile itertools.filterfalse collections.defaultdict numpy.vectorize
            numpy.frompyfunc numpy.fromfunction numpy.apply_along_axis numpy.apply_over_axes
            """
        ),
        0,
    ),
    **dict.fromkeys(
        words("re.sub re.subn itertools.accumulate itertools.groupby weakref.finalize"), 1
    ),
}
CALLING_METHODS: Mapping[str, int] = {
    **dict.fromkeys(words("apply applymap map pipe transform sub subn filter"), 0),
    "combine": 1,
}
"""What calls an argument, a function, by the place of that."""

CALLED = words(
    """
    formatters formatter converters date_parser object_hook object_pairs_hook parse_float
    parse_int parse_constant default default_factory opener callback hook
    """
)
"""Arguments that are called back, or whose values are."""

OF_CLIENTS = words("get head options put delete")
CLIENTS = ("session", "client", "http", "sess", "api")
"""Methods that ask a server, and how the names of those end that have them."""

IMAGES = words("img image im picture photo")
"""Names of pictures whose ``show`` starts a program."""

WRITING = ("write_", "print_", "save_", "dump_", "export_")
"""How methods begin that write files, if they are not known."""

SORTERS = words("sorted min max")
"""What calls its ``key``."""

FRAMES = words("IPython.display.IFrame")
"""What brings another page into the user's."""

LINKS = words("IPython.display.FileLink IPython.display.FileLinks")
"""What puts arguments behind the first into the markup as they are."""

MEDIA = words("IPython.display.Image IPython.display.Video IPython.display.Audio")
"""What shows a file, or what is at an address."""

DUNDERS = words(
    """
    __name__ __version__ __doc__ __file__ __len__ __init__ __str__ __repr__ __eq__ __hash__
    __module__ __annotations__ __all__ __main__ __post_init__ __iter__ __next__
    __getitem__ __contains__ __lt__ __add__ __bool__ __slots__
    """
)
"""Names with underscores on both sides that lead nowhere; others are ways into the interpreter."""

COMMANDS = words(
    """
    alias alias_magic autoawait autocall autoindent automagic autoreload autosave bookmark cat cd
    clear cls code_wrap colors conda config connect_info copy cp cpaste cython cython_inline ddir
    debug dhist dirs doctest_mode echo ed edit env gui hist history killbgscripts ldir less lf lk
    ll load load_ext loadpy logoff logon logstart logstate logstop lprun ls lsmagic lx macro magic
    mamba man matplotlib memit micromamba mkdir mkfile more mprun mv notebook octave page paste
    pastebin pdb pdef pdoc pfile pinfo pinfo2 pip popd pprint precision prun psearch psource pushd
    pwd pycat pylab qtconsole quickref recall rehashx reload_ext ren rep rerun reset
    reset_selective rm rmdir run save sc script set_env sql store subshell sx system tb tikz time
    timeit unalias uniq unload_ext uv watermark who who_ls whos writefile xdel xmode
    """
)
"""
What IPython runs without ``%`` or ``!`` at the beginning of a cell of one line.

Its own magics and aliases, on all systems, and those of common extensions.
"""

_NOUNS = words("post request patch accept download upload move login listen save patch link_to")

MENTIONED: Mapping[str, RiskClass] = {
    **{one: kind for one, kind in METHODS.items() if kind in ("files", "network")},
    **dict.fromkeys(WITH_TARGET, "files"),
    **dict.fromkeys(READERS, "network"),
    **dict.fromkeys(_NOUNS, "reads"),
}
"""What the mention of a method means, since others can call it; of nouns, which name columns."""
