/**
 * What draws the content of chats: the lab's own renderers, kept from loading anything.
 *
 * Installed by untrusted_content.ts, and used by cells.ts. HTML and Markdown pass through
 * remote_content.ts; a diagram or a formula in them that might name an address stays text. A
 * chart that names one, and an output of any kind that is not known here, is drawn when its
 * reader asks for it.
 */

import {
  standardRendererFactories,
  type IRenderMime,
  type IRenderMimeRegistry
} from '@jupyterlab/rendermime';
import { PanelLayout, Widget } from '@lumino/widgets';

import { CHART, harmlessChart } from './chart';
import { mayNameAddress, withoutRemoteContent } from './remote_content';

const MERMAID = 'text/vnd.mermaid';

/** The name under which a diagram's code passes through the lab's Markdown parser. */
const DIAGRAM = 'mermaid-code';

/** A fence of Markdown that begins a diagram. */
const FENCE = /([`~]{3,}[^\S\n]*)mermaid(?=[^\S\n]*(?:\n|$))/g;

/** What all TeX has. JupyterLab 4.6 loads a megabyte of MathJax before it looks for any. */
const TEX = /[$\\]/;

/** TeX that sets style, or attributes of any name, in the page. */
const TEX_OF_THE_PAGE = /\\(?:style|mmlToken|bbox|require|csname|cssId|class|data|unicode)\b/;

/** Types that the lab draws out of the bundle alone. */
const DRAWN = new Set([
  ...standardRendererFactories.flatMap(factory => factory.mimeTypes),
  ...['application/json', 'application/x-ndjson', 'application/jsonl']
]);

/** Lets a chart load nothing, also from an address that it computes. */
const NOTHING: IRenderMime.IResolver = {
  isLocal: () => true,
  resolveUrl: async () => 'data:,',
  getDownloadUrl: async () => 'data:,'
};

const registries = new WeakMap<IRenderMimeRegistry, IRenderMimeRegistry>();
const ofMessages = new WeakMap<IRenderMimeRegistry, IRenderMimeRegistry>();

/** Return the registry that draws what chats hold with the renderers of `lab`, the lab's own. */
export function chatRenderMime(lab: IRenderMimeRegistry): IRenderMimeRegistry {
  const known = registries.get(lab);
  if (known) {
    return known;
  }
  const sanitizer: IRenderMime.ISanitizer = {
    sanitize: (dirty, options) =>
      withoutRemoteContent(lab.sanitizer.sanitize(dirty, options)),
    getAutolink: () => lab.sanitizer.getAutolink?.() ?? true,
    allowNamedProperties: lab.sanitizer.allowNamedProperties ?? false,
    allowCommandLinker: false
  };
  const ours = {
    sanitizer,
    resolver: null,
    markdownParser: lab.markdownParser && guardedParser(lab.markdownParser),
    latexTypesetter: lab.latexTypesetter && guardedTypesetter(lab.latexTypesetter)
  };
  const own = new Set<string>();
  const create: Create = (mimeType, isAskedFor = false) => {
    const factory = lab.getFactory(mimeType);
    if (!factory) {
      throw new Error(`No factory for mime type: '${mimeType}'`);
    }
    return factory.createRenderer({
      ...ours,
      mimeType,
      resolver: CHART.test(mimeType) && !isAskedFor ? NOTHING : null,
      linkHandler: lab.linkHandler
    });
  };
  const overrides: Partial<IRenderMimeRegistry> = {
    ...ours,
    createRenderer: mimeType => {
      if (DRAWN.has(mimeType) || own.has(mimeType)) {
        return create(mimeType);
      }
      return new CautiousRenderer(mimeType, create);
    },
    addFactory: (factory, rank) => {
      factory.mimeTypes.forEach(mimeType => own.add(mimeType));
      lab.addFactory(factory, rank);
    },
    clone: () => registry
  };
  const registry = withOverrides(lab, overrides);
  registries.set(lab, registry);
  return registry;
}

/**
 * Return the registry that draws messages of chats. What is added to it is drawn in them alone:
 * an output in a notebook, or of code in a chat, must not look like a call of the agent's.
 */
export function messageRenderMime(lab: IRenderMimeRegistry): IRenderMimeRegistry {
  const known = ofMessages.get(lab);
  if (known) {
    return known;
  }
  const chat = chatRenderMime(lab);
  const own = new Map<string, IRenderMime.IRendererFactory>();
  const registry: IRenderMimeRegistry = withOverrides(chat, {
    createRenderer: mimeType => {
      const { sanitizer, resolver, linkHandler, latexTypesetter } = chat;
      const options = { mimeType, sanitizer, resolver, linkHandler, latexTypesetter };
      return own.get(mimeType)?.createRenderer(options) ?? chat.createRenderer(mimeType);
    },
    preferredMimeType: (bundle, safe) =>
      [...own.keys()].find(mimeType => mimeType in bundle) ?? chat.preferredMimeType(bundle, safe),
    addFactory: factory => factory.mimeTypes.forEach(mimeType => own.set(mimeType, factory)),
    clone: () => registry
  });
  ofMessages.set(lab, registry);
  return registry;
}

function withOverrides(
  target: IRenderMimeRegistry,
  overrides: Partial<IRenderMimeRegistry>
): IRenderMimeRegistry {
  return new Proxy(target, {
    get: (_, name) => {
      if (name in overrides) {
        return overrides[name as keyof IRenderMimeRegistry];
      }
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    }
  });
}

/** Draw diagrams of Markdown only if they name no address. */
function guardedParser(parser: IRenderMime.IMarkdownParser): IRenderMime.IMarkdownParser {
  return {
    render: async source => {
      const lines = source.replace(/\r\n?/g, '\n').replace(FENCE, `$1${DIAGRAM}`);
      const html = await parser.render(lines);
      if (!html.includes(DIAGRAM)) {
        return html;
      }
      const { body } = new DOMParser().parseFromString(html, 'text/html');
      for (const code of body.querySelectorAll(`code.language-${DIAGRAM}`)) {
        const text = code.textContent ?? '';
        if (!mayNameAddress(text)) {
          const fence = '`'.repeat(3 + longestRun(text));
          const drawn = await parser.render(`${fence}mermaid\n${text}\n${fence}`);
          (code.closest('pre') ?? code).outerHTML = drawn;
        }
      }
      return body.innerHTML;
    }
  };
}

function longestRun(text: string): number {
  return Math.max(0, ...[...text.matchAll(/`+/g)].map(([ticks]) => ticks.length));
}

function guardedTypesetter(
  typesetter: IRenderMime.ILatexTypesetter
): IRenderMime.ILatexTypesetter {
  return {
    typeset: element => {
      const text = element.textContent ?? '';
      return TEX.test(text) && !TEX_OF_THE_PAGE.test(text) ? typesetter.typeset(element) : undefined;
    }
  };
}

/** Makes the lab's own renderer; `isAskedFor` if it may load what it likes. */
type Create = (mimeType: string, isAskedFor?: boolean) => IRenderMime.IRenderer;

/** Whether a text in `value`, which is JSON, might name an address that is loaded. */
function namesAddress(value: unknown): boolean {
  if (typeof value === 'string') {
    return mayNameAddress(value);
  }
  return (
    typeof value === 'object' &&
    value !== null &&
    Object.entries(value).some(([key, inside]) => key !== '$schema' && namesAddress(inside))
  );
}

/**
 * Draws diagrams and charts that name no address. All other outputs are drawn when their
 * reader asks for it, since their renderers may load anything.
 */
class CautiousRenderer extends Widget implements IRenderMime.IRenderer {
  constructor(
    private readonly _mimeType: string,
    private readonly _create: Create
  ) {
    super();
    this.addClass('caesarion-cautious');
    this.layout = this._inside = new PanelLayout();
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const isDrawn = this._mimeType === MERMAID || CHART.test(this._mimeType);
    if (isDrawn && !namesAddress(model.data[this._mimeType])) {
      await this._draw(model, false);
    } else {
      this._ask(model);
    }
  }

  private async _draw(model: IRenderMime.IMimeModel, isAskedFor: boolean): Promise<void> {
    const renderer = this._create(this._mimeType, isAskedFor);
    this._inside.addWidget(renderer);
    // A tooltip may hold a picture.
    const options = isAskedFor ? {} : { tooltip: false };
    await renderer.renderModel(
      CHART.test(this._mimeType) ? harmlessChart(model, this._mimeType, options) : model
    );
  }

  private _ask(model: IRenderMime.IMimeModel): void {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'caesarion-cautious-button';
    button.textContent = 'Show this output';
    const note = document.createElement('span');
    note.textContent = `It may load things from other sites (${this._mimeType}).`;
    button.addEventListener('click', () => {
      button.remove();
      note.remove();
      void this._draw(model, true);
    });
    this.node.append(button, note);
  }

  private readonly _inside: PanelLayout;
}
