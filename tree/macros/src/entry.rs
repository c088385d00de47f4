//! The expansion of `#[main]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, ItemFn};

use crate::options::Options;

/// Writes a `main` that initializes, and then runs the function with the root.
pub(crate) fn expand(options: &Options, function: &ItemFn) -> syn::Result<TokenStream> {
    let written = &function.sig;
    if written.ident != "main" {
        return Err(Error::new_spanned(&written.ident, "a program begins with `main`"));
    }
    if written.asyncness.is_none() {
        let message = "the main function is async, for the tree runs while it does; write \
                       `async fn main(root: Root)`";
        return Err(Error::new_spanned(written.fn_token, message));
    }
    if !written.generics.params.is_empty() {
        return Err(Error::new_spanned(&written.generics.params, "`main` has no generics"));
    }
    if written.inputs.len() != 1 || written.receiver().is_some() {
        let message = "the main function takes the root of the tree; write \
                       `async fn main(root: Root)`";
        return Err(Error::new(written.paren_token.span.join(), message));
    }
    let callsign = &options.callsign;
    let source = match &options.config {
        None => quote!(#callsign::SettingsSource::new()),
        Some((_, config)) => config.written(callsign),
    };
    Ok(quote! {
        fn main() -> ::std::process::ExitCode {
            // In a child it does not return, so nothing may come before it.
            #callsign::init();
            #function
            #callsign::run(#source, main)
        }
    })
}
