/**
 * Settings that nobody has set are the defaults of their schemas, without a validator.
 *
 * JupyterLab 4.6 checks the schema of each plugin and compiles it twice while a page loads, and
 * nothing works before that. Of `{}` there is nothing to check, and the schemas are those of
 * installed packages. Settings that somebody has set are still compiled. Called by index.ts.
 */

import { DefaultSchemaValidator } from '@jupyterlab/settingregistry';
import {
  JSONExt,
  type PartialJSONObject,
  type PartialJSONValue
} from '@lumino/coreutils';

type Schemas = Record<string, ISchema>;

/** What of a JSON schema says where there are defaults. */
interface ISchema {
  $ref?: string;
  additionalProperties?: boolean | ISchema;
  allOf?: ISchema[];
  default?: PartialJSONValue;
  definitions?: Schemas;
  items?: ISchema;
  oneOf?: ISchema[];
  patternProperties?: Schemas;
  properties?: Schemas;
}

/** Keep JupyterLab from compiling the schemas of settings that nobody has set. */
export function skipUnsetSettings(): void {
  const { prototype } = DefaultSchemaValidator;
  const { validateData } = prototype;
  prototype.validateData = function (plugin, populate = true) {
    if (plugin.raw.trim() !== '{}') {
      return validateData.call(this, plugin, populate);
    }
    if (populate) {
      const composite: PartialJSONObject = {};
      const schema = plugin.schema as ISchema;
      fill(composite, schema, schema);
      plugin.data = { composite, user: {} };
    }
    return null;
  };
}

/** Add to `value` what `schema` has defaults for, where ajv 8 does with `useDefaults`. */
function fill(
  value: PartialJSONValue | undefined,
  schema: ISchema,
  root: ISchema
): void {
  if (!value || typeof value !== 'object') {
    return;
  }
  const { $ref, allOf = [], items, oneOf = [] } = schema;
  const named = $ref && root.definitions?.[$ref.replace('#/definitions/', '')];
  // Of alternatives ajv fills in those that are named and call each other: menus in menus.
  const parts = [...allOf, ...oneOf.filter(part => part.$ref)];
  (named ? [named, ...parts] : parts).forEach(part => fill(value, part, root));
  if (!Array.isArray(value)) {
    fillObject(value as PartialJSONObject, schema, root);
  } else if (items) {
    value.forEach(item => fill(item, items, root));
  }
}

function fillObject(
  value: PartialJSONObject,
  { additionalProperties, patternProperties, properties = {} }: ISchema,
  root: ISchema
): void {
  for (const [key, property] of Object.entries(properties)) {
    if (value[key] === undefined && property.default !== undefined) {
      value[key] = JSONExt.deepCopy(property.default);
    }
    fill(value[key], property, root);
  }
  const patterns = Object.entries(patternProperties ?? {});
  if (!patterns.length && typeof additionalProperties !== 'object') {
    return;
  }
  for (const [key, item] of Object.entries(value)) {
    const matching = patterns.filter(([pattern]) => new RegExp(pattern, 'u').test(key));
    matching.forEach(([, part]) => fill(item, part, root));
    const known = matching.length > 0 || Object.hasOwn(properties, key);
    if (!known && typeof additionalProperties === 'object') {
      fill(item, additionalProperties, root);
    }
  }
}
