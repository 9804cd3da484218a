/**
 * The arguments of a human monitor command, as QEMU's monitor reads them: flags in their order,
 * then integer expressions, which may be sums, products, bits, parentheses, characters, octal and
 * hexadecimal. Follows QEMU's monitor/hmp.c in behaviour and texts.
 */

/** The error of QEMU's monitor about a command line that it cannot read. */
export class HmpSyntaxError extends Error {}

const SPACE = /[ \t\n\v\f\r]/
const LARGEST = 2n ** 64n - 1n
/**
 * How many parentheses and signs can be open at once, so that no line fills the stack. QEMU has no
 * such limit.
 */
const MOST_NESTED = 256

/** A command line, read from left to right. */
export class HmpReader {
  readonly #command: string
  readonly #text: string
  #at = 0
  #nested = 0

  constructor(command: string, text: string) {
    this.#command = command
    this.#text = text
    this.#skipSpace()
  }

  /**
   * Whether the flag `-letter` comes next. `later` has the flags that may still come, which are not
   * read.
   */
  flag(letter: string, later: string): boolean {
    this.#skipSpace()
    if (this.#peek() !== '-') return false
    const given = this.#text[this.#at + 1] ?? '\0'
    if (given === letter) {
      this.#at += 2
      return true
    }
    if (later.includes(given)) return false
    throw new HmpSyntaxError(`${this.#command}: unsupported option -${given}`)
  }

  /** An integer expression, in 64 bits. */
  integer(): bigint {
    this.#skipSpace()
    return this.#sum()
  }

  /** An integer expression, or undefined at the end of the line. */
  optionalInteger(): bigint | undefined {
    this.#skipSpace()
    return this.#peek() === '' ? undefined : this.#sum()
  }

  /** Throws unless everything was read. */
  end(): void {
    this.#skipSpace()
    if (this.#peek() !== '')
      throw new HmpSyntaxError(`${this.#command}: extraneous characters at the end of line`)
  }

  #peek(): string {
    return this.#text[this.#at] ?? ''
  }

  #skipSpace(): void {
    while (SPACE.test(this.#peek())) this.#at++
  }

  #next(): void {
    if (this.#peek() !== '') this.#at++
    this.#skipSpace()
  }

  /**
   * Operators of one rank, from the left. In QEMU a sum binds loosest, then bits, then products.
   */
  #chain(
    operators: string,
    operand: () => bigint,
    apply: (op: string, a: bigint, b: bigint) => bigint,
  ): bigint {
    let value = operand()
    for (let op = this.#peek(); op !== '' && operators.includes(op); op = this.#peek()) {
      this.#next()
      value = BigInt.asIntN(64, apply(op, value, operand()))
    }
    return value
  }

  #sum(): bigint {
    return this.#chain(
      '+-',
      () => this.#bits(),
      (op, a, b) => (op === '+' ? a + b : a - b),
    )
  }

  #bits(): bigint {
    const apply = (op: string, a: bigint, b: bigint): bigint =>
      op === '&' ? a & b : op === '|' ? a | b : a ^ b
    return this.#chain('&|^', () => this.#product(), apply)
  }

  #product(): bigint {
    return this.#chain(
      '*/%',
      () => this.#unary(),
      (op, a, b) => {
        if (op === '*') return a * b
        if (b === 0n) throw new HmpSyntaxError('division by zero')
        return op === '/' ? a / b : a % b
      },
    )
  }

  #unary(): bigint {
    const char = this.#peek()
    switch (char) {
      case '+':
      case '-':
      case '~': {
        this.#next()
        const value = this.#inside(() => this.#unary())
        return BigInt.asIntN(64, char === '-' ? -value : char === '~' ? ~value : value)
      }
      case '(': {
        this.#next()
        const value = this.#inside(() => this.#sum())
        if (this.#peek() !== ')') throw new HmpSyntaxError("')' expected")
        this.#next()
        return value
      }
      case "'":
        return this.#character()
      case '$':
        throw new HmpSyntaxError('unknown register')
      case '':
        throw new HmpSyntaxError('unexpected end of expression')
      default:
        return this.#number()
    }
  }

  /** What `read` reads within a parenthesis or behind a sign. */
  #inside(read: () => bigint): bigint {
    if (this.#nested === MOST_NESTED) throw new HmpSyntaxError('expression nested too deeply')
    this.#nested++
    const value = read()
    this.#nested--
    return value
  }

  #character(): bigint {
    this.#at++
    const char = this.#peek()
    if (char === '') throw new HmpSyntaxError('character constant expected')
    this.#at++
    if (this.#peek() !== "'") throw new HmpSyntaxError("missing terminating ' character")
    this.#next()
    return BigInt(char.codePointAt(0) ?? 0)
  }

  /** Reads a number as strtoull with base 0 does. */
  #number(): bigint {
    const rest = this.#text.slice(this.#at)
    const digits = /^(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)/.exec(rest)?.[0]
    if (digits === undefined) throw new HmpSyntaxError(`invalid char '${rest[0]}' in expression`)
    const value = BigInt(/^0[0-7]+$/.test(digits) ? `0o${digits.slice(1)}` : digits)
    if (value > LARGEST) throw new HmpSyntaxError('number too large')
    this.#at += digits.length
    this.#skipSpace()
    return BigInt.asIntN(64, value)
  }
}
