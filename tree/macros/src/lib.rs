//! The attributes of callsign: [`export`] makes a function callable from other actors, [`main`]
//! begins a program that is a tree of actors.
//!
//! Use them through `callsign`; their output refers to that crate as `::callsign`. A program that
//! has renamed it says so: `#[export(crate = other)]`.

#![forbid(unsafe_code)]

mod entry;
mod export;
mod options;
mod signature;

use proc_macro::TokenStream;
use quote::quote;
use syn::{ItemFn, parse_macro_input};

use self::options::Options;

/// Lets other actors call an async function.
///
/// A function of the same name takes its place: it takes the same arguments and returns a
/// `Call<T, E>`, a value that does nothing until it is sent to an actor. Beside it comes a type
/// of the same name with the constant `EXPORT`, to be listed where an actor is spawned:
/// `.expose(&[mean::EXPORT])`.
///
/// - **Arguments** are taken by value; they implement `Serialize` and `DeserializeOwned`.
/// - **The result** is a `Result<T, E>` of two such types, where `E` is an error too, or a plain
///   `T`, whose calls are `Call<T, Never>`.
/// - **A dialogue** is a function whose first parameter is `&mut Context<Started, In, Out>`; its
///   calls are `Dialogue<Started, In, Out, T, E>`.
/// - **Generics, `self`, `impl Trait`** and references have no meaning in another process, and
///   are errors.
///
/// It may stand within another function, but not in an `impl`. `#[export(crate = other)]` is for
/// programs that know the crate `callsign` by another name.
#[proc_macro_attribute]
pub fn export(options: TokenStream, function: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as Options);
    let function = parse_macro_input!(function as ItemFn);
    // References to the function resolve, so that the fault is the only one.
    written(export::expand(&options, &function), || quote!(#function))
}

/// Begins a program that is a tree of actors.
///
/// The function takes the root and is async. First comes `init()`, which in a child never returns;
/// then `run(source, main)` builds the runtime, opens the root and returns the exit code.
///
/// The program chooses how its settings file is found; by default there is none.
///
/// - `config = "callsign.toml"`: at this path, which may be any expression of a path.
/// - `config(flag = "--config", env = "MARKET_CONFIG", file = "market.toml")`: the path in the
///   flag, or else in the environment variable, or else this file, relative to the working
///   directory, or none. Any of the three may be left out. The flag stays in the arguments: a
///   program that parses them has to expect it.
///
/// It is the same as a `SettingsSource` passed to `run`.
#[proc_macro_attribute]
pub fn main(options: TokenStream, function: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as Options);
    let function = parse_macro_input!(function as ItemFn);
    written(entry::expand(&options, &function), || {
        quote!(
            fn main() {}
        )
    })
}

fn written(
    tokens: syn::Result<proc_macro2::TokenStream>,
    instead: impl FnOnce() -> proc_macro2::TokenStream,
) -> TokenStream {
    let tokens = tokens.unwrap_or_else(|error| {
        let faults = error.into_compile_error();
        let instead = instead();
        quote!(#faults #instead)
    });
    tokens.into()
}
