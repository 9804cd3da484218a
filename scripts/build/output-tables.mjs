// docs/output.md: the tables of the fields of every JSON document, made from schema.json.
//
//   node scripts/build/output-tables.mjs            writes them into the page
//   node scripts/build/output-tables.mjs --check    fails if the page has other ones

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { commandLine } from '../command-line.mjs'
import { isMain } from '../main-module.mjs'
import { root } from '../root.mjs'
import { withPart } from './marked-part.mjs'

const page = join(root, 'docs/output.md')

/** What a value may be, in words. */
function formOf(schema, defs) {
  if (schema.$ref !== undefined) {
    const name = schema.$ref.replace('#/$defs/', '')
    return defs[name].properties === undefined
      ? formOf(defs[name], defs)
      : `[${name}](#${name.toLowerCase()})`
  }
  if (schema.const !== undefined) return `\`${JSON.stringify(schema.const)}\``
  if (schema.enum !== undefined) return schema.enum.map(value => `\`${value}\``).join(', ')
  if (schema.type === 'array') return `list of ${formOf(schema.items, defs)}`
  if (Array.isArray(schema.type)) return schema.type.join(' or ')
  return schema.type === 'integer' ? 'whole number' : schema.type
}

/** The rows of an object's fields. A field of an object within it is written with a point. */
function rowsOf(schema, defs, prefix = '') {
  return Object.entries(schema.properties).flatMap(([name, field]) => {
    const target = field.$ref === undefined ? field : defs[field.$ref.replace('#/$defs/', '')]
    const meaning = field.description ?? target.description
    const absent = (schema.required ?? []).includes(name) ? '' : ' (can be absent)'
    const row = `| \`${prefix}${name}\` | ${formOf(field, defs)}${absent} | ${meaning} |`
    const nested = field.type === 'array' ? field.items : field
    const within = nested.properties === undefined ? [] : rowsOf(nested, defs, `${prefix}${name}.`)
    return [row, ...within]
  })
}

/** The documents, then the objects in them, each under a title of its own. */
export function tables({ $defs: defs }) {
  const objects = Object.entries(defs).filter(([, { properties }]) => properties !== undefined)
  const isDocument = ([, { properties }]) => properties.schemaVersion !== undefined
  return [...objects.filter(isDocument), ...objects.filter(object => !isDocument(object))]
    .map(([name, schema]) => {
      const more = (schema.allOf ?? []).filter(({ $ref }) => $ref !== undefined)
      const also = more.map(part => ` It has the fields of ${formOf(part, defs)} too.`).join('')
      const head = '| field | form | meaning |\n|---|---|---|'
      return `### ${name}\n\n${schema.description}${also}\n\n${head}\n${rowsOf(schema, defs).join('\n')}\n`
    })
    .join('\n')
}

/** The page with the tables that schema.json makes. */
export function pageWithTables() {
  const text = readFileSync(page, 'utf8')
  const schema = JSON.parse(readFileSync(join(root, 'schema.json'), 'utf8'))
  return { text, made: withPart(text, 'the tables from schema.json', tables(schema)) }
}

if (isMain(import.meta.url)) {
  const { text, made } = pageWithTables()
  const { values } = commandLine(import.meta.url, { options: { check: { type: 'boolean' } } })
  if (!values.check) writeFileSync(page, made)
  else if (text !== made) {
    process.stderr.write(
      'docs/output.md is not what schema.json makes: node scripts/build/output-tables.mjs\n',
    )
    process.exitCode = 1
  }
}
