/**
 * Charts of Vega and Vega-Lite that reach nothing but their own place in the page.
 *
 * Such a chart is JSON and is drawn without trust, but JupyterLab 4.6 draws it with Vega 5.33,
 * which lets a chart put inputs with any attribute, scripts included, anywhere in the page, click
 * on what is there, listen to every key, and set style sheets. A trusted chart, whose cell its
 * reader has run, may do what its cell's script may do, and is drawn as it is.
 *
 * Used by chat_rendermime.ts for chats, and by untrusted_content.ts for everything else.
 */

import { MimeModel, type IRenderMime } from '@jupyterlab/rendermime';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

/** Vega and Vega-Lite of any version, whose renderer loads what its resolver allows. */
export const CHART = /^application\/vnd\.vega(?:lite)?\.v\d+\+json$/;

/** The inputs that a chart may have below it, and what may be said of one. */
const INPUTS = new Set([
  ...['checkbox', 'radio', 'select', 'range', 'text', 'number', 'color', 'search', 'tel'],
  ...['date', 'datetime-local', 'month', 'time', 'week']
]);
const INPUT_PARTS = new Set([
  ...['input', 'name', 'min', 'max', 'step', 'options', 'labels', 'placeholder', 'debounce']
]);

/** Options of vega-embed that say how a chart looks, as numbers and names. */
const LOOKS = ['renderer', 'theme', 'width', 'height', 'padding', 'scaleFactor'];

/** Events of the page that a chart may follow, such as the end of a drag. */
const PAGE_EVENTS = [
  ...['mousedown', 'mousemove', 'mouseup', 'pointerdown', 'pointermove', 'pointerup'],
  ...['touchmove', 'touchend', 'resize']
];

type Json = Record<string, unknown>;

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The input that a signal is bound to; of Vega-Lite also one for each field, or the legend. */
function plainBinding(binding: unknown): unknown {
  if (!isObject(binding)) {
    return binding;
  }
  if (typeof binding.legend === 'string') {
    return { legend: binding.legend };
  }
  const isInput = 'input' in binding || Object.values(binding).every(part => !isObject(part));
  if (!isInput) {
    return Object.fromEntries(
      Object.entries(binding).map(([field, part]) => [field, plainBinding(part)])
    );
  }
  const parts = Object.entries(binding).filter(([name]) => INPUT_PARTS.has(name));
  const input = INPUTS.has(binding.input as string) ? binding.input : 'text';
  return { ...Object.fromEntries(parts), input };
}

/** A part of a chart, with inputs that are in the chart's own place and have no script. */
function withPlainBindings(part: unknown): unknown {
  if (Array.isArray(part)) {
    return part.map(withPlainBindings);
  }
  if (!isObject(part)) {
    return part;
  }
  return Object.fromEntries(
    Object.entries(part).map(([name, inside]) => [
      name,
      name === 'bind' ? plainBinding(inside) : withPlainBindings(inside)
    ])
  );
}

/** A chart as Vega itself takes it, which follows no events of what is beside it. */
function withOwnEvents(vega: Json): Json {
  const events = { defaults: { allow: ['wheel'] }, selector: false, window: PAGE_EVENTS };
  return { ...vega, config: { ...(isObject(vega.config) ? vega.config : {}), events } };
}

/** What may be said of how a chart is drawn, in it or beside it. */
function looksOf(options: unknown): Json {
  const known = isObject(options) ? options : {};
  const looks = LOOKS.map(name => [name, known[name]] as const).filter(
    ([, value]) => typeof value === 'number' || typeof value === 'string'
  );
  return { ...Object.fromEntries(looks), ...(known.actions === false && { actions: false }) };
}

/** Models of charts that are harmless already. */
const harmless = new WeakSet<IRenderMime.IMimeModel>();

/** Return the model of an untrusted chart that is harmless; `options` are for vega-embed. */
export function harmlessChart(
  model: IRenderMime.IMimeModel,
  mimeType: string,
  options: Json = {}
): IRenderMime.IMimeModel {
  const given = model.data[mimeType];
  const { usermeta, ...chart } = isObject(given) ? given : {};
  const metadata = model.metadata[mimeType];
  const embedOptions = {
    // "View Source" writes the chart into a page of this origin as HTML.
    actions: { export: true, source: false, compiled: false, editor: false },
    ...looksOf(isObject(metadata) && metadata.embed_options),
    ...looksOf(isObject(usermeta) && usermeta.embedOptions),
    ...options,
    // Expressions are interpreted, not compiled: those of Vega 5.33 could break out.
    ast: true,
    patch: withOwnEvents
  };
  const made = new MimeModel({
    data: {
      ...model.data,
      [mimeType]: withPlainBindings(chart) as ReadonlyPartialJSONObject
    },
    // Within the page metadata may hold a function, which JSON cannot.
    metadata: { [mimeType]: { embed_options: embedOptions as unknown as ReadonlyPartialJSONObject } },
    trusted: false,
    // The lab's renderer keeps a picture of the chart in the notebook, and draws the chart anew for
    // as long as the picture is empty.
    callback: ({ data }) => {
      const picture = data?.['image/png'];
      if (picture) {
        model.setData({ data: { ...model.data, 'image/png': picture } });
      }
    }
  });
  harmless.add(made);
  return made;
}

/** Let a factory of charts draw those that are not trusted harmlessly. */
export function guardCharts(factory: IRenderMime.IRendererFactory): void {
  const create = factory.createRenderer.bind(factory);
  factory.createRenderer = options => {
    const renderer = create(options);
    const draw = renderer.renderModel.bind(renderer);
    renderer.renderModel = model =>
      draw(model.trusted || harmless.has(model) ? model : harmlessChart(model, options.mimeType));
    return renderer;
  };
}
