//! The options of an attribute.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Error, Expr, ExprLit, Ident, Lit, Path, Token,
    ext::IdentExt,
    parenthesized,
    parse::{Parse, ParseStream},
    parse_quote,
    token::Paren,
};

/// The options in an attribute's parentheses: `crate = path`, `config = expression`,
/// `config(flag = expression, env = expression, file = expression)`.
pub(crate) struct Options {
    /// The path by which the written code finds `callsign`.
    pub(crate) callsign: Path,
    /// The path of the settings, and its keyword.
    pub(crate) config: Option<(Ident, Config)>,
}

/// How the settings file is found.
pub(crate) enum Config {
    /// It has a fixed place.
    At(Expr),
    /// In the ways that the program has chosen, each with its keyword.
    By(Vec<(Way, Expr)>),
}

/// A way to find the settings file: its keyword, which is also the name of the method.
type Way = Ident;

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut options = Self { callsign: parse_quote!(::callsign), config: None };
        while !input.is_empty() {
            let word = Ident::parse_any(input)?;
            match word.to_string().as_str() {
                "crate" => {
                    input.parse::<Token![=]>()?;
                    options.callsign = Path::parse_mod_style(input)?;
                }
                "config" => options.config = Some((word.clone(), Config::parse(&word, input)?)),
                other => {
                    let message = format!("unknown option `{other}`; there are `crate`, `config`");
                    return Err(Error::new(word.span(), message));
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

impl Config {
    fn parse(word: &Ident, input: ParseStream<'_>) -> syn::Result<Self> {
        if !input.peek(Paren) {
            input.parse::<Token![=]>()?;
            return Ok(Self::At(input.parse()?));
        }
        let within;
        parenthesized!(within in input);
        let mut ways: Vec<(Way, Expr)> = Vec::new();
        while !within.is_empty() {
            let way = Ident::parse_any(&within)?;
            if !WAYS.iter().any(|it| way == it) {
                let message = format!("unknown way `{way}`; there are `flag`, `env`, `file`");
                return Err(Error::new(way.span(), message));
            }
            if ways.iter().any(|(it, _)| *it == way) {
                return Err(Error::new(way.span(), format!("`{way}` is given twice")));
            }
            within.parse::<Token![=]>()?;
            let value = within.parse()?;
            check(&way, &value)?;
            ways.push((way, value));
            if !within.is_empty() {
                within.parse::<Token![,]>()?;
            }
        }
        if ways.is_empty() {
            let message = "how is the settings file found? write \
                           `config(flag = \"--config\", env = \"…\", file = \"…\")`, or fewer \
                           of the three";
            return Err(Error::new(word.span(), message));
        }
        Ok(Self::By(ways))
    }

    /// Writes it as a `SettingsSource`.
    pub(crate) fn written(&self, callsign: &Path) -> TokenStream {
        match self {
            Self::At(place) => quote!(#callsign::SettingsSource::at(#place)),
            Self::By(ways) => {
                let (ways, values) = (ways.iter().map(|(it, _)| it), ways.iter().map(|(_, it)| it));
                quote!(#callsign::SettingsSource::new() #(.#ways(#values))*)
            }
        }
    }
}

/// Checks as much of a value as is visible here.
fn check(way: &Ident, value: &Expr) -> syn::Result<()> {
    let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = value else { return Ok(()) };
    let said = text.value();
    if said.is_empty() {
        return Err(Error::new_spanned(text, format!("`{way}` names nothing")));
    }
    if way == "flag" && !said.starts_with('-') {
        let message = format!("a flag begins with a dash; write `\"--{said}\"`");
        return Err(Error::new_spanned(text, message));
    }
    Ok(())
}

/// The ways to find a settings file.
const WAYS: [&str; 3] = ["flag", "env", "file"];
