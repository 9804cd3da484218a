// Writes a program that exports, as a user's library might, what each function, method and property
// of the package gives, with the type that TypeScript infers: node export-everything.cjs TYPESCRIPT
// FILE. Runs in the user's folder.

const { writeFileSync } = require('node:fs')

const [, , typescript, file] = process.argv
const ts = require(typescript)

const probe = 'probe.mts'
writeFileSync(probe, "export * from 'dirtyrate'\n")
const program = ts.createProgram([probe], {
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  target: ts.ScriptTarget.ES2022,
  strict: true,
  noEmit: true,
})
const checker = program.getTypeChecker()
const source = program.getSourceFile(probe)
const names = checker.getExportsOfModule(checker.getSymbolAtLocation(source))
const lines = ["import * as api from 'dirtyrate'"]

/** A call without any argument that it could really use: only its type counts. */
const call = (callee, type) => `${callee}(...([] as unknown as Parameters<${type}>))`

/** Exports `expression`, and what it resolves to. */
function give(name, expression, type) {
  lines.push(`export const ${name} = ${expression}`)
  if (checker.getPromisedTypeOfPromise(type))
    lines.push(`export const ${name}_resolved = await ${name}`)
}

function members(owner, type, expression) {
  for (const property of checker.getPropertiesOfType(type)) {
    const key = property.getName()
    if (!/^[A-Za-z_]\w*$/.test(key) || key === 'prototype') continue
    const declared = property.valueDeclaration
    const flags = declared === undefined ? 0 : ts.getCombinedModifierFlags(declared)
    if (flags & ts.ModifierFlags.Private) continue
    const of = checker.getTypeOfSymbolAtLocation(property, source)
    const name = `${owner}_${key}`
    give(name, `${expression}.${key}`, of)
    const [signature] = checker.getSignaturesOfType(of, ts.SignatureKind.Call)
    if (signature === undefined) continue
    give(
      `${name}_result`,
      call(`${expression}.${key}`, `(typeof ${expression})['${key}']`),
      signature.getReturnType(),
    )
  }
}

for (let symbol of names) {
  const name = symbol.getName()
  if (symbol.flags & ts.SymbolFlags.Alias) symbol = checker.getAliasedSymbol(symbol)
  if (symbol.flags & (ts.SymbolFlags.Interface | ts.SymbolFlags.Class)) {
    lines.push(`declare const of_${name}: api.${name}`)
    members(name, checker.getDeclaredTypeOfSymbol(symbol), `of_${name}`)
  }
  if (symbol.flags & ts.SymbolFlags.Value && isExportedAsValue(symbol, name)) {
    const type = checker.getTypeOfSymbolAtLocation(symbol, source)
    lines.push(`export const value_${name} = api.${name}`)
    const [signature] = checker.getSignaturesOfType(type, ts.SignatureKind.Call)
    if (signature !== undefined) {
      give(`result_${name}`, call(`api.${name}`, `typeof api.${name}`), signature.getReturnType())
    } else if (!checker.isArrayType(type) && !checker.isTupleType(type))
      members(`in_${name}`, type, `value_${name}`)
  }
}

/** A class may be exported as a type only. */
function isExportedAsValue(symbol, name) {
  const { valueDeclaration } = symbol
  if (valueDeclaration === undefined) return false
  return (
    !ts.isClassDeclaration(valueDeclaration) ||
    ['VirtualMachine', 'DirtyRateError', 'QapiError'].includes(name)
  )
}

writeFileSync(file, `${lines.join('\n')}\n`)
