// Ends of lifetimes. Browsers without Symbol.dispose get the key that compilers of `using` fall back to.

export const DISPOSE: typeof Symbol.dispose =
  (Symbol as { readonly dispose?: typeof Symbol.dispose }).dispose ??
  (Symbol.for("Symbol.dispose") as typeof Symbol.dispose);
