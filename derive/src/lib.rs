//! `#[derive(Serialize, Deserialize)]` for the traits of gatepost's room `json`, with serde's attributes.
//!
//! What is generated is one call a field, through `dyn`, so that a type costs little code: serde's own derive makes a copy of
//! its machinery for each type. Understood are `rename`, `rename_all`, `rename_all_fields`, `default`, `skip`,
//! `skip_serializing_if`, `flatten` and `tag`; anything else is an error of compilation.

mod attributes;

use attributes::{Container, Member, Skip};
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{Data, DataEnum, DeriveInput, Error, Fields, Generics, Result, Variant, parse_macro_input, parse_quote};

/// Derives `json::Serialize`.
#[proc_macro_derive(Serialize, attributes(serde))]
pub fn serialize(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    writer(&input).unwrap_or_else(Error::into_compile_error).into()
}

/// Derives `json::Deserialize`.
#[proc_macro_derive(Deserialize, attributes(serde))]
pub fn deserialize(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    reader(&input).unwrap_or_else(Error::into_compile_error).into()
}

/// A type as it is derived for, with the bound on each of its type parameters.
fn implement(input: &DeriveInput, bound: &TokenStream, body: &TokenStream) -> TokenStream {
    let name = &input.ident;
    let mut generics: Generics = input.generics.clone();
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(parse_quote!(#bound));
    }
    let (before, after, clause) = generics.split_for_impl();
    quote! {
        #[automatically_derived]
        #[allow(clippy::all, clippy::pedantic)]
        impl #before #bound for #name #after #clause { #body }
    }
}

fn writer(input: &DeriveInput) -> Result<TokenStream> {
    let container = Container::of(&input.attrs)?;
    let statements = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Unit => quote! { out.null(); },
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                quote! { crate::json::Serialize::write(&self.0, out); }
            }
            Fields::Unnamed(fields) => {
                let indices = (0..fields.unnamed.len()).map(syn::Index::from);
                quote! { out.open(b'['); #( out.item(&self.#indices); )* out.close(b']'); }
            }
            Fields::Named(_) => {
                let members = Member::all(&data.fields, container.rename_all)?;
                let fields = members.iter().map(|member| {
                    let ident = &member.ident;
                    written(member, &quote! { &self.#ident })
                });
                quote! { out.open(b'{'); #( #fields )* out.close(b'}'); }
            }
        },
        Data::Enum(data) => written_enum(data, &container)?,
        Data::Union(_) => return Err(Error::new_spanned(input, "a union has no JSON form")),
    };
    let body = quote! {
        fn write(&self, out: &mut crate::json::Writer) { #statements }
    };
    Ok(implement(input, &quote! { crate::json::Serialize }, &body))
}

/// The statement that writes a field; `value` is a reference to it.
fn written(member: &Member, value: &TokenStream) -> TokenStream {
    let name = &member.name;
    match &member.skip {
        Skip::Always => quote! {},
        _ if member.flatten => quote! { out.flat(#value); },
        Skip::Never => quote! { out.field(#name, #value); },
        Skip::Null => quote! { out.field_unless_null(#name, #value); },
        Skip::Empty => quote! { out.field_unless_empty(#name, #value); },
        Skip::If(path) => quote! { if !#path(#value) { out.field(#name, #value); } },
    }
}

fn written_enum(data: &DataEnum, container: &Container) -> Result<TokenStream> {
    if data.variants.iter().all(|variant| variant.fields.is_empty()) && container.tag.is_none() {
        let names = names(data, container)?;
        let idents = data.variants.iter().map(|variant| &variant.ident);
        return Ok(quote! { out.text(match self { #( Self::#idents => #names ),* }); });
    }
    let names = names(data, container)?;
    let mut arms = Vec::new();
    for (variant, name) in data.variants.iter().zip(&names) {
        let ident = &variant.ident;
        let arm = match (&variant.fields, &container.tag) {
            (Fields::Unit, None) => quote! { Self::#ident => out.text(#name), },
            (Fields::Unit, Some(tag)) => {
                quote! { Self::#ident => { out.open(b'{'); out.field(#tag, &#name); out.close(b'}'); } }
            }
            (Fields::Unnamed(fields), None) if fields.unnamed.len() == 1 => {
                quote! { Self::#ident(a) => { out.open(b'{'); out.field(#name, a); out.close(b'}'); } }
            }
            (Fields::Unnamed(fields), Some(tag)) if fields.unnamed.len() == 1 => {
                quote! { Self::#ident(a) => { out.open(b'{'); out.field(#tag, &#name); out.flat(a); out.close(b'}'); } }
            }
            (Fields::Unnamed(fields), None) => {
                let places = places(fields.unnamed.len());
                quote! { Self::#ident(#( #places ),*) => {
                    out.open(b'{'); out.key(#name); out.open(b'['); #( out.item(#places); )* out.close(b']'); out.close(b'}');
                } }
            }
            (Fields::Unnamed(_), Some(_)) => return Err(tagged_tuple(variant)),
            (Fields::Named(_), tag) => {
                let members = Member::all(&variant.fields, variant_case(variant, container)?)?;
                let idents = members.iter().map(|member| &member.ident);
                let fields = members.iter().map(|member| {
                    let ident = &member.ident;
                    written(member, &quote! { #ident })
                });
                let (open, close) = match tag {
                    Some(tag) => (quote! { out.open(b'{'); out.field(#tag, &#name); }, quote! { out.close(b'}'); }),
                    None => (
                        quote! { out.open(b'{'); out.key(#name); out.open(b'{'); },
                        quote! { out.close(b'}'); out.close(b'}'); },
                    ),
                };
                quote! { Self::#ident { #( #idents ),* } => { #open #( #fields )* #close } }
            }
        };
        arms.push(arm);
    }
    Ok(quote! { match self { #( #arms )* } })
}

fn reader(input: &DeriveInput) -> Result<TokenStream> {
    let container = Container::of(&input.attrs)?;
    let (read, blank) = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Unit => (quote! { let _ = value; Ok(()) }, quote! { Self }),
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => (
                quote! { crate::json::Deserialize::read(&mut self.0, value) },
                quote! { Self(crate::json::Deserialize::blank()) },
            ),
            Fields::Unnamed(fields) => {
                let indices = (0..fields.unnamed.len()).map(syn::Index::from);
                let blanks = fields.unnamed.iter().map(|_| quote! { crate::json::Deserialize::blank() });
                (
                    quote! { crate::json::read_tuple(value, &mut [#( &mut self.#indices ),*]) },
                    quote! { Self(#( #blanks ),*) },
                )
            }
            Fields::Named(_) => {
                let mut members = Member::all(&data.fields, container.rename_all)?;
                if container.default {
                    members.iter_mut().for_each(|member| member.optional = true);
                }
                let fields = members.iter().map(|member| {
                    let ident = &member.ident;
                    taken(member, &quote! { &mut self.#ident })
                });
                let blanks = members.iter().map(|member| {
                    let (ident, blank) = (&member.ident, member.blank());
                    quote! { #ident: #blank }
                });
                (
                    quote! { let mut fields = crate::json::Fields::of(value)?; #( #fields )* fields.end() },
                    quote! { Self { #( #blanks ),* } },
                )
            }
        },
        Data::Enum(data) => (read_enum(data, &container)?, blank_enum(data)),
        Data::Union(_) => return Err(Error::new_spanned(input, "a union has no JSON form")),
    };
    let blank = if container.default {
        quote! { <Self as ::core::default::Default>::default() }
    } else {
        blank
    };
    let body = quote! {
        fn read(&mut self, value: crate::json::Value) -> ::core::result::Result<(), crate::json::Error> { #read }
        fn blank() -> Self { #blank }
    };
    Ok(implement(input, &quote! { crate::json::Deserialize }, &body))
}

/// The statement that reads a field into `place`, a mutable reference.
fn taken(member: &Member, place: &TokenStream) -> TokenStream {
    let name = &member.name;
    match (&member.skip, member.flatten, member.optional) {
        (Skip::Always, _, _) => quote! {},
        (_, true, _) => quote! { fields.rest(#place); },
        (_, _, true) => quote! { fields.optional(#name, #place); },
        (_, _, false) => quote! { fields.required(#name, #place); },
    }
}

fn read_enum(data: &DataEnum, container: &Container) -> Result<TokenStream> {
    let names = names(data, container)?;
    let only_names = data.variants.iter().all(|variant| variant.fields.is_empty());
    let mut arms = Vec::new();
    for (index, variant) in data.variants.iter().enumerate() {
        let ident = &variant.ident;
        let made = match &variant.fields {
            Fields::Unit if only_names => quote! { Self::#ident },
            Fields::Unit => quote! { { content.nothing()?; Self::#ident } },
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => quote! { {
                let mut a = crate::json::Deserialize::blank();
                content.one(&mut a)?;
                Self::#ident(a)
            } },
            Fields::Unnamed(_) if container.tag.is_some() => return Err(tagged_tuple(variant)),
            Fields::Unnamed(fields) => {
                let places = places(fields.unnamed.len());
                quote! { {
                    #( let mut #places = crate::json::Deserialize::blank(); )*
                    content.tuple(&mut [#( &mut #places ),*])?;
                    Self::#ident(#( #places ),*)
                } }
            }
            Fields::Named(_) => {
                let members = Member::all(&variant.fields, variant_case(variant, container)?)?;
                let idents: Vec<&Ident> = members.iter().map(|member| &member.ident).collect();
                let blanks = members.iter().map(Member::blank);
                let types = variant.fields.iter().map(|field| &field.ty);
                let fields = members.iter().map(|member| {
                    let ident = &member.ident;
                    taken(member, &quote! { &mut #ident })
                });
                quote! { {
                    #( let mut #idents: #types = #blanks; )*
                    let mut fields = content.fields()?;
                    #( #fields )*
                    fields.end()?;
                    Self::#ident { #( #idents ),* }
                } }
            }
        };
        // The last arm takes what cannot be: the index is one of these.
        let pattern = if index + 1 == data.variants.len() {
            quote! { _ }
        } else {
            quote! { #index }
        };
        arms.push(quote! { #pattern => #made });
    }
    let start = match (&container.tag, only_names) {
        (Some(tag), _) => quote! { let (index, content) = crate::json::Content::tagged(value, #tag, NAMES)?; },
        (None, true) => quote! { let index = crate::json::Content::of(value, NAMES)?.name_only()?; },
        (None, false) => quote! { let (index, content) = crate::json::Content::of(value, NAMES)?.split(); },
    };
    let unused = if only_names && container.tag.is_some() {
        quote! { content.nothing()?; }
    } else {
        quote! {}
    };
    Ok(quote! {
        const NAMES: &[&str] = &[#( #names ),*];
        #start
        #unused
        *self = match index { #( #arms ),* };
        Ok(())
    })
}

/// What an enum holds before it is read: its first variant without content, else its first.
fn blank_enum(data: &DataEnum) -> TokenStream {
    let simple = data.variants.iter().find(|variant| variant.fields.is_empty()).or(data.variants.first());
    let Some(variant) = simple else { return quote! { unreachable!() } };
    let ident = &variant.ident;
    let blank = quote! { crate::json::Deserialize::blank() };
    match &variant.fields {
        Fields::Unit => quote! { Self::#ident },
        Fields::Unnamed(fields) => {
            let blanks = fields.unnamed.iter().map(|_| &blank);
            quote! { Self::#ident(#( #blanks ),*) }
        }
        Fields::Named(fields) => {
            let idents = fields.named.iter().map(|field| &field.ident);
            quote! { Self::#ident { #( #idents: #blank ),* } }
        }
    }
}

fn names(data: &DataEnum, container: &Container) -> Result<Vec<String>> {
    data.variants
        .iter()
        .map(|variant| {
            let own = Container::of(&variant.attrs)?.rename;
            Ok(own.unwrap_or_else(|| container.rename_all.variant(&variant.ident.to_string())))
        })
        .collect()
}

fn variant_case(variant: &Variant, container: &Container) -> Result<attributes::Case> {
    let own = Container::of(&variant.attrs)?.rename_all;
    Ok(if own == attributes::Case::AsWritten { container.rename_all_fields } else { own })
}

fn tagged_tuple(variant: &Variant) -> Error {
    Error::new_spanned(variant, "a tagged enum has no form for a list of values")
}

fn places(count: usize) -> Vec<Ident> {
    (0..count).map(|index| format_ident!("place_{index}")).collect()
}
