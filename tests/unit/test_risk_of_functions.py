"""Functions that others call, and what is called without a call that shows."""

import pytest
from caesarion.agent.risk import classify

# What they do at worst has to be among the classes.
HIDDEN = {
    "processes": [
        "import functools\ns.map(functools.reduce(getattr, ['os', 'system'], glob))",
        "map(getattr, [glob], ['os'])",
        "import numpy as np\nnp.load('p.npy', None, True)",
        "import xml.sax\nxml.sax.make_parser(['antigravity'])",
        "import unittest.__main__",
        "import venv.__main__ as v",
        "s.map(userfunc)",
        "[s.map(one) for one in [userfunc]]",
        "import abc\nabc.ABCMeta('X', (), {'__init_subclass__': userfunc})",
        "df.assign(x=userfunc)",
        "df.groupby('a').filter(userfunc)",
        "combined = df.combine(other, userfunc)",
        "df.to_string(formatters={'a': userfunc})",
        "pd.read_csv('a.csv', converters={'a': userfunc})",
        "json.loads('{}', object_hook=userfunc)",
        "json.dumps(x, default=userfunc)",
        "open('a', opener=userfunc)",
        "import re\nre.sub('a', userfunc, text)",
        "import itertools\nlist(itertools.accumulate([1], userfunc))",
        "np.apply_along_axis(userfunc, 0, arr)",
        "np.fromfunction(userfunc, (2, 2))",
        "import collections\ncollections.defaultdict(userfunc)['a']",
        "import types\ntypes.new_class('X', (), {}, userfunc)",
        "list(map(userfunc.__call__, [1]))",
        "userfunc.__call__()",
        "type('Y', (X,), {})",
        "type('X', (int,), {'_repr' + '_html_': lambda s: 'x'})",
        "with tmp:\n    pass",
        "with box.tmp:\n    pass",
        "import operator\noperator.setitem(d, 'k', 1)",
        "import operator\noperator.call(userfunc)",
        "import PIL.Image\nPIL.Image.open('a.png').show()",
        "import PIL.Image\nimg = PIL.Image.open('a.png')\nimg.show()",
        "img.show()",
        "import platform\nplatform.architecture()",
        "plt.text(0, 0, 'x', usetex=True)",
        "import matplotlib.testing.compare as c\nc.convert('a.svg', False)",
        "help('modules')",
        "from IPython.display import FileLink\nFileLink('a', '', chr(60) + 'img src=x')",
        "import IPython.utils.path as p\np.link_or_copy('a', 'b')",
    ],
    "files": [
        "list(map(open, ['f'], ['w']))",
        "import functools\nfunctools.reduce(open, ['w'], 'made.txt')",
        "import itertools\nlist(itertools.starmap(open, [('made.txt', 'w')]))",
        "import pyarrow.fs as fs\nfs.copy_files('a', 'b')",
        "import matplotlib.image as i\ni.thumbnail('a.png', 'b.png')",
        "import nbformat.sign\nnbformat.sign.NotebookNotary()",
        "canvas.print_png('f')",
        "df.write_avro('x')",
    ],
    "writes names": [
        "match [1]:\n    case [*df]: pass",
        "match {}:\n    case {**df}: pass",
        "np.put(arr, [0], [99])",
        "np.add(arr, 1, out=arr)",
        "import heapq\nheapq.heappush(heap, 1)",
        "import bisect\nbisect.insort(a, 1)",
        "np.random.shuffle(arr)",
        "arr.sort()",
    ],
    "network": [
        "session.get(target)",
        "api_client.head(target)",
        "duckdb.sql('select * from \"read_csv\"(concat(a, b))')",
        "duckdb.sql('select * from read_csv/**/(concat(a, b))')",
        "HTML('<div style=\"background: image-set(\\'x\\' 1x)\"></div>')",
        "HTML('<div style=\"background: ur&#108;(x)\"></div>')",
        "HTML('<div style=\"background: u\\\\72l(x)\"></div>')",
        "HTML('<svg><image><animate attributeName=href values=x></image></svg>')",
        "HTML('<input type=image src=\"../../../../hub/logout\">')",
    ],
}

PLAIN = [
    "df.head()",
    "s.map({1: 'a', 2: 'b'})",
    "df.groupby('a').mean()",
    "sorted(names, key=len)",
    "list(map(str, values))",
    "with open('a.txt') as file:\n    print(file.read())",
    "import re\nre.sub('a', 'b', text)",
    "table.get('a')",
    "plt.show()",
    "fig.show()",
    "type(df)",
    "help(df.head)",
    "json.dumps(x, default=str)",
    "df.apply(lambda row: row.a + row.b, axis=1)",
    "[len(one) for one in names]",
    "HTML('<b>bold</b>')",
    "duckdb.sql('select a from df')",
]


@pytest.mark.parametrize(
    ("code", "worst"),
    [(code, worst) for worst, snippets in HIDDEN.items() for code in snippets],
)
def test_what_others_call_has_the_class_of_what_it_can_do(code: str, worst: str) -> None:
    assert worst in classify(code)


@pytest.mark.parametrize("code", PLAIN)
def test_what_only_reads_still_only_reads(code: str) -> None:
    found = set(classify(code))
    assert found <= {"reads", "writes names"}
