//! The signature of an exported function: its parts, and its restrictions.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    Error, FnArg, GenericArgument, Ident, ItemFn, Pat, PatType, PathArguments, PathSegment,
    ReturnType, Signature as Written, Type,
};

/// The signature of a function that can be exported.
pub(crate) struct Signature<'a> {
    /// The types of the context of a dialogue: started, in, out.
    pub(crate) context: Option<[&'a Type; 3]>,
    /// The parameters besides the context.
    pub(crate) parameters: Vec<(&'a Ident, &'a Type)>,
    /// Its result.
    pub(crate) result: Outcome<'a>,
}

/// The result of a function.
pub(crate) enum Outcome<'a> {
    /// A value.
    Plain(Option<&'a Type>),
    /// A `Result` that names both of its types.
    Result(&'a Type, &'a Type),
    /// A `Result` whose error is hidden in an alias.
    Alias(&'a Type),
}

impl<'a> Signature<'a> {
    /// Reads a function.
    ///
    /// # Errors
    ///
    /// Everything that keeps it from being exported, each at its place.
    pub(crate) fn read(function: &'a ItemFn) -> syn::Result<Self> {
        let written = &function.sig;
        let mut faults = Faults(None);
        faults.of_qualifiers(written);

        let mut context = None;
        let mut parameters = Vec::new();
        for (at, argument) in written.inputs.iter().enumerate() {
            match argument {
                FnArg::Receiver(it) => faults.add(
                    it,
                    "an exported function runs in another actor, where there is no `self`; make \
                     it a function of its own and pass what it needs",
                ),
                FnArg::Typed(it) => match context_segment(&it.ty) {
                    Some(segment) if at == 0 => context = faults.context(it, segment),
                    Some(_) => faults.add(it, "the context is the first parameter"),
                    None => parameters.extend(faults.parameter(it)),
                },
            }
        }
        let result = match &written.output {
            ReturnType::Default => Outcome::Plain(None),
            ReturnType::Type(_, ty) => {
                faults.of_type(ty);
                outcome(ty)
            }
        };
        faults.0.map_or(Ok(Self { context, parameters, result }), Err)
    }
}

/// Returns `Context<…>`, if the type is `&mut Context<…>`.
fn context_segment(ty: &Type) -> Option<&PathSegment> {
    let Type::Reference(reference) = ty else { return None };
    let segment = last_segment(&reference.elem)?;
    (reference.mutability.is_some() && segment.ident == "Context").then_some(segment)
}

fn outcome(ty: &Type) -> Outcome<'_> {
    let Some(segment) = last_segment(ty).filter(|it| it.ident == "Result") else {
        return Outcome::Plain(Some(ty));
    };
    match type_arguments(segment).as_deref() {
        Some([value, error]) => Outcome::Result(value, error),
        _ => Outcome::Alias(ty),
    }
}

fn last_segment(ty: &Type) -> Option<&PathSegment> {
    let Type::Path(path) = ty else { return None };
    path.path.segments.last()
}

/// Returns the type arguments of a segment, if it has no other ones.
fn type_arguments(segment: &PathSegment) -> Option<Vec<&Type>> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    let types = arguments.args.iter().map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    types.collect()
}

/// The faults of a function.
struct Faults(Option<Error>);

impl Faults {
    fn add(&mut self, tokens: impl ToTokens, message: &str) {
        let fault = Error::new_spanned(tokens, message);
        match &mut self.0 {
            Some(faults) => faults.combine(fault),
            None => self.0 = Some(fault),
        }
    }

    fn of_qualifiers(&mut self, written: &Written) {
        if written.asyncness.is_none() {
            let fault = "an exported function is async, for its actor does other work meanwhile; \
                         write `async fn`";
            self.add(written.fn_token, fault);
        }
        let Written { constness, unsafety, abi, variadic, .. } = written;
        let qualifiers: [&dyn ToTokens; 4] = [constness, unsafety, abi, variadic];
        for qualifier in qualifiers {
            if !qualifier.to_token_stream().is_empty() {
                self.add(qualifier, "an exported function is a plain `async fn`; leave this out");
            }
        }
        let generics = &written.generics;
        let fault = "an exported function has no generics, for the other process must know which \
                     one is meant; export one function for each type";
        if !generics.params.is_empty() {
            self.add(&generics.params, fault);
        } else if let Some(clause) = &generics.where_clause {
            self.add(clause, fault);
        }
    }

    /// Reads the types of a context.
    fn context<'a>(
        &mut self,
        parameter: &PatType,
        segment: &'a PathSegment,
    ) -> Option<[&'a Type; 3]> {
        let types: Option<[&'a Type; 3]> =
            type_arguments(segment).and_then(|it| it.try_into().ok());
        match types {
            Some(types) => types.iter().for_each(|ty| self.of_type(ty)),
            None => self.add(
                parameter,
                "a context names three types: what starts the dialogue, what comes in, and what \
                 goes out; write `&mut Context<Started, In, Out>`",
            ),
        }
        types
    }

    /// Reads a parameter that is not a context.
    fn parameter<'a>(&mut self, parameter: &'a PatType) -> Option<(&'a Ident, &'a Type)> {
        self.of_type(&parameter.ty);
        match &*parameter.pat {
            Pat::Ident(it) if it.by_ref.is_none() && it.subpat.is_none() => {
                return Some((&it.ident, &parameter.ty));
            }
            other => self.add(
                other,
                "a parameter of an exported function has a name; take it apart in the body",
            ),
        }
        None
    }

    fn of_type(&mut self, ty: &Type) {
        let Some(obstacle) = obstacle(ty.to_token_stream()) else { return };
        let fault = match obstacle {
            Obstacle::Borrow => {
                "what goes to another process is owned: take a `String` for a `&str`, a `Vec<T>` \
                 for a `&[T]`, and a `T` for a `&T`"
            }
            Obstacle::Hidden => {
                "`impl Trait` names no type that another process could read; write the type"
            }
        };
        self.add(ty, fault);
    }
}

/// The obstacle that keeps a type from travelling.
enum Obstacle {
    Borrow,
    Hidden,
}

fn obstacle(tokens: TokenStream) -> Option<Obstacle> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Punct(it) if matches!(it.as_char(), '&' | '\'') => Some(Obstacle::Borrow),
        TokenTree::Ident(it) if it == "impl" => Some(Obstacle::Hidden),
        TokenTree::Group(group) => obstacle(group.stream()),
        _ => None,
    })
}
