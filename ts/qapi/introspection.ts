/**
 * The answer of `query-qmp-schema`: every command and event that is served, and each type that they
 * reach. As in QEMU, types other than the built-in ones have a number in place of their name.
 */

import type { CommandType, EventType, ObjectType, QapiType } from './schema.js'

/** An entry of the answer. */
export type SchemaInfo = Readonly<Record<string, unknown>> & { readonly name: string }

/** The whole answer, commands and events first. */
export function introspect(
  commands: readonly CommandType[],
  events: readonly EventType[],
): readonly SchemaInfo[] {
  const types = new Types()
  const entries: SchemaInfo[] = [
    ...commands.map(({ name, args, returns, features }) => ({
      name,
      'ret-type': types.nameOf(returns),
      'meta-type': 'command',
      'arg-type': types.nameOf(args),
      ...withFeatures(features),
    })),
    ...events.map(({ name, data }) => ({
      name,
      'meta-type': 'event',
      'arg-type': types.nameOf(data),
    })),
  ]
  return [...entries, ...types.entries()]
}

const withFeatures = (features?: readonly string[]): { features?: readonly string[] } =>
  features === undefined ? {} : { features }

/** The types that were named, in the order in which they were. */
class Types {
  readonly #names = new Map<QapiType, string>()
  #numbers = 0

  nameOf(type: QapiType): string {
    const known = this.#names.get(type)
    if (known !== undefined) return known
    const name =
      type.meta === 'builtin'
        ? type.name
        : type.meta === 'array'
          ? `[${this.nameOf(type.element)}]`
          : String(this.#numbers++)
    // An array of the same elements may have been made twice.
    if (![...this.#names.values()].includes(name)) this.#names.set(type, name)
    return name
  }

  /** The entries of all types. An entry may name further types, which then follow. */
  *entries(): Generator<SchemaInfo> {
    for (const [type, name] of this.#names) yield this.#entry(type, name)
  }

  #entry(type: QapiType, name: string): SchemaInfo {
    switch (type.meta) {
      case 'builtin':
        return { name, 'json-type': type.json, 'meta-type': 'builtin' }
      case 'enum':
        return {
          name,
          members: type.values.map(value => ({ name: value })),
          'meta-type': 'enum',
          values: type.values,
        }
      case 'array':
        return { name, 'element-type': this.nameOf(type.element), 'meta-type': 'array' }
      default:
        return this.#object(type, name)
    }
  }

  #object({ members, tag, variants }: ObjectType, name: string): SchemaInfo {
    return {
      name,
      ...(tag === undefined ? {} : { tag }),
      ...(variants === undefined
        ? {}
        : {
            variants: variants.map(({ case: value, type }) => ({
              case: value,
              type: this.nameOf(type),
            })),
          }),
      members: members.map(({ name: of, type, optional, features }) => ({
        name: of,
        ...(optional === true ? { default: null } : {}),
        type: this.nameOf(type),
        ...withFeatures(features),
      })),
      'meta-type': 'object',
    }
  }
}
