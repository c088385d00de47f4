//! The expansion of `#[export]`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Attribute, Error, Ident, ItemFn, Path, Visibility, ext::IdentExt, spanned::Spanned};

use crate::{
    options::Options,
    signature::{Outcome, Signature},
};

/// Writes the function that makes calls, a type without values for its `EXPORT`, and in a hidden
/// constant the original function and its entry in the registry.
///
/// Why not a module for `EXPORT`? A module within a function cannot see the items beside it.
pub(crate) fn expand(options: &Options, function: &ItemFn) -> syn::Result<TokenStream> {
    if let Some((word, _)) = &options.config {
        return Err(Error::new(word.span(), "an exported function has no settings"));
    }
    let signature = Signature::read(function)?;
    let callsign = &options.callsign;
    let ItemFn { vis: visibility, sig: written, .. } = function;
    let name = &written.ident;
    let plain = name.unraw();
    let entry = format_ident!("__CALLSIGN_EXPORT_{}", plain);
    let body = format_ident!("__callsign_{}", plain);

    let with = Attributes::sort(function);
    let Attributes { conditions, outer, inner } = &with;
    let (names, types): (Vec<_>, Vec<_>) = signature.parameters.iter().copied().unzip();
    let checks = checks(callsign, &signature);
    let (call, kind, run) = pieces(callsign, &signature, &body, &entry);
    let fingerprinted = without_blanks(&written.inputs) + "->" + &without_blanks(&written.output);
    let callable = format!("The exported function `{plain}`.");
    let constant = format!("To be listed where an actor is spawned that lets `{plain}` be called.");

    let mut original = function.clone();
    original.attrs = inner.iter().map(|it| (*it).clone()).collect();
    original.vis = Visibility::Inherited;
    original.sig.ident = body;

    Ok(quote! {
        #(#outer)*
        #visibility fn #name(#(#names: #types),*) -> #call {
            <#call>::new(#name::EXPORT, &(#(#names,)*))
        }

        #(#conditions)*
        #[doc = #callable]
        #[allow(non_camel_case_types, reason = "it is named after the function")]
        #visibility enum #name {}

        #(#conditions)*
        impl #name {
            #[doc = #constant]
            #[allow(unreachable_pub, reason = "the type is as visible as the function")]
            pub const EXPORT: #callsign::export::Export = #entry;
        }

        #(#conditions)*
        #[doc(hidden)]
        #[allow(non_upper_case_globals, reason = "it is named after the function")]
        const #entry: #callsign::export::Export = {
            #original

            // In a separate block, so that the body does not see these names.
            {
                #checks

                fn run(
                    incoming: #callsign::export::Incoming,
                ) -> #callsign::export::Running {
                    #run
                }

                const PATH: &str =
                    ::core::concat!(::core::module_path!(), "::", ::core::stringify!(#plain));

                #[#callsign::export::linkme::distributed_slice(#callsign::export::EXPORTS)]
                #[linkme(crate = #callsign::export::linkme)]
                static ENTRY: #callsign::export::Export = #entry;

                #callsign::export::Export {
                    path: PATH,
                    method: ::core::concat!(
                        "export.", ::core::module_path!(), "::", ::core::stringify!(#plain)
                    ),
                    fingerprint: #callsign::export::fingerprint(PATH, #fingerprinted),
                    kind: #callsign::export::ExportKind::#kind,
                    run,
                    file: ::core::file!(),
                    line: ::core::line!(),
                }
            }
        };
    })
}

/// Names each type once, where only that type can be at fault.
fn checks(callsign: &Path, signature: &Signature<'_>) -> TokenStream {
    let context = signature.context.into_iter().flatten();
    let mut travelling: Vec<_> =
        context.chain(signature.parameters.iter().map(|it| it.1)).collect();
    let mut failing = None;
    match signature.result {
        Outcome::Plain(ty) => travelling.extend(ty),
        Outcome::Result(value, error) => {
            travelling.push(value);
            failing = Some(error);
        }
        Outcome::Alias(_) => {}
    }
    let failing = failing.into_iter();
    quote! {
        #(#callsign::export::run::travels::<#travelling>();)*
        #(#callsign::export::run::fails::<#failing>();)*
    }
}

/// Returns the type of a call, the kind, and how to carry one out.
fn pieces(
    callsign: &Path,
    signature: &Signature<'_>,
    body: &Ident,
    entry: &Ident,
) -> (TokenStream, TokenStream, TokenStream) {
    let (names, types): (Vec<_>, Vec<_>) = signature.parameters.iter().copied().unzip();
    let (value, error) = match signature.result {
        Outcome::Plain(None) => (quote!(()), quote!(#callsign::export::Never)),
        Outcome::Plain(Some(ty)) => (quote!(#ty), quote!(#callsign::export::Never)),
        Outcome::Result(value, error) => (quote!(#value), quote!(#error)),
        Outcome::Alias(ty) => {
            let outcome = quote_spanned!(ty.span()=> <#ty as #callsign::export::run::Outcome>);
            (quote!(#outcome::Value), quote!(#outcome::Error))
        }
    };
    let carried = |call: TokenStream| match signature.result {
        Outcome::Plain(_) => quote!(#callsign::export::run::infallible(#call)),
        _ => call,
    };
    match signature.context {
        None => {
            let carried = carried(quote!(#body(#(#names),*)));
            (
                quote!(#callsign::export::Call<#value, #error>),
                quote!(Unary),
                quote! {
                    #callsign::export::run::unary(
                        #entry, incoming, |(#(#names,)*): (#(#types,)*)| #carried,
                    )
                },
            )
        }
        Some([started, item, reply]) => {
            // A parameter may have the same name.
            let context = Ident::new("context", Span::mixed_site());
            let carried = carried(quote!(#body(&mut #context, #(#names),*)));
            (
                quote!(#callsign::export::Dialogue<#started, #item, #reply, #value, #error>),
                quote!(Dialogue),
                quote! {
                    #callsign::export::run::dialogue(
                        #entry,
                        incoming,
                        |mut #context: #callsign::export::Context<#started, #item, #reply>,
                         (#(#names,)*): (#(#types,)*)| async move { #carried.await },
                    )
                },
            )
        }
    }
}

/// The attributes of a function, by the item that they belong to.
struct Attributes<'a> {
    /// Whether the function exists at all: these belong to everything.
    conditions: Vec<&'a Attribute>,
    /// The part that callers see.
    outer: Vec<&'a Attribute>,
    /// The part about the body.
    inner: Vec<&'a Attribute>,
}

impl<'a> Attributes<'a> {
    fn sort(function: &'a ItemFn) -> Self {
        let is = |it: &Attribute, words: &[&str]| words.iter().any(|word| it.path().is_ident(word));
        let (conditions, rest): (Vec<_>, Vec<_>) =
            function.attrs.iter().partition(|it| is(it, &["cfg"]));
        let (mut outer, inner): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|it| is(it, &["doc", "deprecated", "must_use"]));
        outer.splice(0..0, conditions.iter().copied());
        Self { conditions, outer, inner }
    }
}

/// Returns tokens as text that does not depend on the compiler's blanks.
fn without_blanks(tokens: &impl ToTokens) -> String {
    let mut text = tokens.to_token_stream().to_string();
    text.retain(|it| !it.is_whitespace());
    text
}
