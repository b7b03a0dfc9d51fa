/** The picture on a weather card (weather_card.ts), composed of a few shapes. */

type Shape = 'sun' | 'cloud' | 'drops' | 'flakes' | 'mist' | 'bolt';

/** In a square of 48, drawn with lines of the shape's colour. */
const PATHS: Record<Shape, string> = {
  sun: 'M26 20a8 8 0 1 0-16 0a8 8 0 1 0 16 0M18 4v4M18 32v4M2 20h4M30 20h4M6.7 8.7l2.8 2.8M26.5 28.5l2.8 2.8M6.7 31.3l2.8-2.8M26.5 11.5l2.8-2.8',
  cloud:
    'M16 36h20a8 8 0 0 0 1-15.9A11 11 0 0 0 16.2 18A9 9 0 0 0 16 36z',
  drops: 'M18 39l-2 5M26 39l-2 5M34 39l-2 5',
  flakes: 'M17 42h.01M25 45h.01M33 42h.01M25 39h.01',
  mist: 'M10 40h28M14 45h20',
  bolt: 'M27 36l-5 6h6l-4 5'
};

const COLOURS: Record<Shape, string> = {
  sun: 'var(--jp-warn-color1)',
  cloud: 'var(--jp-ui-font-color2)',
  drops: 'var(--jp-brand-color1)',
  flakes: 'var(--jp-brand-color1)',
  mist: 'var(--jp-ui-font-color2)',
  bolt: 'var(--jp-warn-color1)'
};

/** The highest WMO code of each kind of weather, and what is drawn for it. */
const KINDS: readonly (readonly [number, readonly Shape[]])[] = [
  [1, ['sun']],
  [2, ['sun', 'cloud']],
  [3, ['cloud']],
  [48, ['cloud', 'mist']],
  [67, ['cloud', 'drops']],
  [77, ['cloud', 'flakes']],
  [82, ['cloud', 'drops']],
  [86, ['cloud', 'flakes']],
  [99, ['cloud', 'bolt']]
];

const SVG = 'http://www.w3.org/2000/svg';

/** Return the picture for WMO's code of the weather; an unknown code has a cloud. */
export function weatherIcon(code: number): SVGElement {
  const picture = document.createElementNS(SVG, 'svg');
  picture.setAttribute('viewBox', '0 0 48 48');
  picture.setAttribute('aria-hidden', 'true');
  const shapes = KINDS.find(([highest]) => code <= highest)?.[1] ?? ['cloud'];
  for (const shape of shapes) {
    const path = document.createElementNS(SVG, 'path');
    path.setAttribute('d', PATHS[shape]);
    path.style.stroke = COLOURS[shape];
    // A cloud hides what is behind it.
    path.style.fill = shape === 'cloud' ? 'var(--jp-layout-color1)' : 'none';
    picture.append(path);
  }
  return picture;
}
