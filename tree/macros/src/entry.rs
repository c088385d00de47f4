//! What `#[main]` writes.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, FnArg, ItemFn, spanned::Spanned};

use crate::options::Options;

/// Writes a `main` that initializes, and then runs the function with the root.
pub(crate) fn expand(options: &Options, function: &ItemFn) -> syn::Result<TokenStream> {
    let written = &function.sig;
    if written.ident != "main" {
        return Err(Error::new(written.ident.span(), "a program begins with `main`"));
    }
    if written.asyncness.is_none() {
        let message = "the main function is async, for the root runs while it does; write \
                       `async fn main(root: Root)`";
        return Err(Error::new(written.fn_token.span, message));
    }
    if !written.generics.params.is_empty() {
        return Err(Error::new(written.generics.params.span(), "`main` has no generics"));
    }
    if written.inputs.len() != 1 || matches!(written.inputs[0], FnArg::Receiver(_)) {
        let message = "the main function takes the root of the tree: `async fn main(root: Root)`";
        return Err(Error::new(written.paren_token.span.join(), message));
    }
    let callsign = &options.callsign;
    let config = match &options.config {
        None => quote!(::core::option::Option::None),
        Some((_, config)) => quote! {
            ::core::option::Option::Some(
                ::core::convert::AsRef::<::std::path::Path>::as_ref(&(#config)),
            )
        },
    };
    Ok(quote! {
        fn main() -> ::std::process::ExitCode {
            // In a child it does not return, so nothing may come before it.
            #callsign::init();
            #function
            #callsign::run(#config, main)
        }
    })
}
