/**
 * The weather as a card. Made by cells.ts for the MIME type below, whose JSON the
 * server's tools/weather.py writes.
 */

import type { IRenderMime } from '@jupyterlab/rendermime';
import { Widget } from '@lumino/widgets';

import { weatherIcon } from './weather_icon';

export const WEATHER_MIME = 'application/vnd.caesarion.weather+json';

interface IDay {
  readonly date: string;
  readonly low: number;
  readonly high: number;
  readonly sunrise: string;
  readonly sunset: string;
}

interface ICard {
  readonly place: string;
  /** WMO's code of the weather, and its words. */
  readonly code: number;
  readonly weather: string;
  readonly time: string;
  readonly timezone: string;
  /** Label and value; the first is the temperature. */
  readonly now: readonly (readonly [string, string])[];
  readonly unit: string;
  readonly days: readonly IDay[];
}

function element(name: string, ...inside: (string | Node)[]): HTMLElement {
  const made = document.createElement('div');
  made.className = `caesarion-weather-${name}`;
  made.append(...inside);
  return made;
}

/** "2026-11-23" as "Mon 23". */
function shortDay(date: string): string {
  const day = new Date(`${date}T12:00:00`);
  return Number.isNaN(day.getTime())
    ? date
    : day.toLocaleDateString('en', { weekday: 'short', day: 'numeric' });
}

function drawDay(day: IDay, unit: string): HTMLElement {
  const range = `${Math.round(day.low)} to ${Math.round(day.high)} ${unit}`;
  return element(
    'day',
    element('date', shortDay(day.date)),
    element('range', range),
    element('sun', `sun ${day.sunrise} to ${day.sunset}`)
  );
}

/** Draws the card out of texts alone. */
export class WeatherRenderer extends Widget implements IRenderMime.IRenderer {
  constructor() {
    super();
    this.addClass('caesarion-weather');
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const card = model.data[WEATHER_MIME] as unknown as ICard;
    try {
      this._draw(card);
    } catch {
      // Code of the user's can show any JSON under this type.
      this.node.className = '';
      this.node.textContent = String(model.data['text/plain'] ?? '');
    }
  }

  private _draw(card: ICard): void {
    const [first, ...rest] = card.now;
    const head = element(
      'head',
      element('icon', weatherIcon(card.code)),
      element('degrees', first?.[1] ?? ''),
      element(
        'where',
        element('place', card.place),
        element('words', card.weather),
        element('time', `${card.time}, ${card.timezone}`)
      )
    );
    const facts = rest.map(([label, value]) =>
      element('fact', element('label', label), element('value', value))
    );
    const days = card.days.map(day => drawDay(day, card.unit));
    this.node.setAttribute('role', 'group');
    this.node.setAttribute('aria-label', `The weather in ${card.place}`);
    this.node.replaceChildren(
      head,
      element('facts', ...facts),
      element('days', ...days)
    );
  }
}
