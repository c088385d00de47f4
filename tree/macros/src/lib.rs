//! The attributes of callsign: [`export`] makes a function callable from other actors, [`main`]
//! begins a program that is a tree of actors.
//!
//! Use them through `callsign`; what they write refers to that crate as `::callsign`. A program
//! that knows it by another name says so: `#[export(crate = other)]`.

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
    // What refers to the function finds it, so that the fault is the only one.
    written(export::expand(&options, &function), || quote!(#function))
}

/// Begins a program that is a tree of actors.
///
/// The function takes the root and is async. First of all comes `init()`, which in a child never
/// returns; then `run(source, main)` builds the runtime, opens the root and gives the exit code.
///
/// How the settings file is found is the program's choice; without a word of it, there is none.
///
/// - `config = "callsign.toml"`: it is there. Any expression that is a path will do.
/// - `config(flag = "--config", env = "MARKET_CONFIG", file = "market.toml")`: the flag names it, or
///   else the variable of the environment does, or else it is there, seen from the working
///   directory, or there is none. Any of the three may be left out. The flag is not taken out of
///   the arguments: a program that reads them has to expect it.
///
/// It is the same as a `SettingsSource` that is given to `run`.
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
