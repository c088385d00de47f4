//! What stands in an attribute's parentheses.

use syn::{
    Error, Expr, Ident, Path, Token,
    ext::IdentExt,
    parse::{Parse, ParseStream},
    parse_quote,
};

/// What stands in an attribute's parentheses: `crate = path`, `config = expression`.
pub(crate) struct Options {
    /// By which path the written code finds `callsign`.
    pub(crate) callsign: Path,
    /// Where the settings are, and the word that says so.
    pub(crate) config: Option<(Ident, Expr)>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut options = Self { callsign: parse_quote!(::callsign), config: None };
        while !input.is_empty() {
            let word = Ident::parse_any(input)?;
            input.parse::<Token![=]>()?;
            match word.to_string().as_str() {
                "crate" => options.callsign = Path::parse_mod_style(input)?,
                "config" => options.config = Some((word, input.parse()?)),
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
