//! [`Container`] and [`Member`]: what the attributes of a type, a variant and a field say.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote};
use syn::{Attribute, Error, ExprPath, Fields, Ident, LitStr, Result, meta::ParseNestedMeta};

/// How names are spelled in JSON.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Case {
    #[default]
    AsWritten,
    Camel,
    Kebab,
    Lower,
    Pascal,
    Screaming,
}

impl Case {
    fn of(meta: &ParseNestedMeta<'_>) -> Result<Self> {
        let text: LitStr = meta.value()?.parse()?;
        Ok(match text.value().as_str() {
            "camelCase" => Self::Camel,
            "kebab-case" => Self::Kebab,
            "lowercase" => Self::Lower,
            "PascalCase" => Self::Pascal,
            "SCREAMING_SNAKE_CASE" => Self::Screaming,
            _ => {
                return Err(Error::new_spanned(
                    text,
                    "camelCase, kebab-case, lowercase, PascalCase or SCREAMING_SNAKE_CASE",
                ));
            }
        })
    }

    /// The name of a field that is written `like_this`.
    fn field(self, name: &str) -> String {
        let pascal = || name.split('_').map(capital).collect::<String>();
        match self {
            Self::AsWritten | Self::Lower => name.to_owned(),
            Self::Kebab => name.replace('_', "-"),
            Self::Screaming => name.to_uppercase(),
            Self::Pascal => pascal(),
            Self::Camel => small(&pascal()),
        }
    }

    /// The name of a variant that is written `LikeThis`.
    pub(crate) fn variant(self, name: &str) -> String {
        match self {
            Self::AsWritten | Self::Pascal => name.to_owned(),
            Self::Lower => name.to_lowercase(),
            Self::Camel => small(name),
            Self::Kebab => divided(name, '-').to_lowercase(),
            Self::Screaming => divided(name, '_').to_uppercase(),
        }
    }
}

/// With a divider before each capital but the first.
fn divided(name: &str, divider: char) -> String {
    let letters = name.chars().flat_map(|c| c.is_uppercase().then_some(divider).into_iter().chain([c]));
    letters.collect::<String>().trim_start_matches(divider).to_owned()
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn small(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// Attributes of a type or of a variant.
#[derive(Default)]
pub(crate) struct Container {
    pub(crate) rename: Option<String>,
    pub(crate) rename_all: Case,
    pub(crate) rename_all_fields: Case,
    pub(crate) default: bool,
    pub(crate) tag: Option<String>,
}

impl Container {
    pub(crate) fn of(attributes: &[Attribute]) -> Result<Self> {
        let mut found = Self::default();
        each(attributes, |meta| {
            if meta.path.is_ident("rename") {
                found.rename = Some(text(meta)?);
            } else if meta.path.is_ident("rename_all") {
                found.rename_all = Case::of(meta)?;
            } else if meta.path.is_ident("rename_all_fields") {
                found.rename_all_fields = Case::of(meta)?;
            } else if meta.path.is_ident("default") {
                found.default = true;
            } else if meta.path.is_ident("tag") {
                found.tag = Some(text(meta)?);
            } else {
                return Err(meta.error("not understood here"));
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// When a field is not written.
pub(crate) enum Skip {
    /// It is always written.
    Never,
    /// It is neither written nor read.
    Always,
    /// When it is `None`.
    Null,
    /// When it is an empty text, list or map.
    Empty,
    /// When this function says so.
    If(ExprPath),
}

/// A named field.
pub(crate) struct Member {
    pub(crate) ident: Ident,
    pub(crate) name: String,
    pub(crate) skip: Skip,
    pub(crate) flatten: bool,
    /// Whether it may be missing, whatever its type.
    pub(crate) optional: bool,
    default: Option<Option<ExprPath>>,
}

impl Member {
    pub(crate) fn all(fields: &Fields, case: Case) -> Result<Vec<Self>> {
        fields
            .iter()
            .filter_map(|field| Some((field, field.ident.clone()?)))
            .map(|(field, ident)| {
                let name = case.field(ident.to_string().trim_start_matches("r#"));
                let mut member =
                    Self { ident, name, skip: Skip::Never, flatten: false, optional: false, default: None };
                each(&field.attrs, |meta| {
                    if meta.path.is_ident("rename") {
                        member.name = text(meta)?;
                    } else if meta.path.is_ident("default") {
                        member.optional = true;
                        member.default =
                            Some(meta.value().ok().map(|value| value.parse::<LitStr>()?.parse()).transpose()?);
                    } else if meta.path.is_ident("skip") {
                        member.skip = Skip::Always;
                        member.default = Some(None);
                    } else if meta.path.is_ident("skip_serializing_if") {
                        let path: ExprPath = meta.value()?.parse::<LitStr>()?.parse()?;
                        member.skip = match path.to_token_stream().to_string().replace(' ', "").as_str() {
                            "Option::is_none" => Skip::Null,
                            "String::is_empty" | "Vec::is_empty" | "BTreeMap::is_empty" => Skip::Empty,
                            _ => Skip::If(path),
                        };
                    } else if meta.path.is_ident("flatten") {
                        member.flatten = true;
                    } else {
                        return Err(meta.error("not understood here"));
                    }
                    Ok(())
                })?;
                Ok(member)
            })
            .collect()
    }

    /// What the field holds before it is read.
    pub(crate) fn blank(&self) -> TokenStream {
        match &self.default {
            None => quote! { crate::json::Deserialize::blank() },
            Some(None) => quote! { ::core::default::Default::default() },
            Some(Some(path)) => quote! { #path() },
        }
    }
}

fn each(attributes: &[Attribute], mut take: impl FnMut(&ParseNestedMeta<'_>) -> Result<()>) -> Result<()> {
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        attribute.parse_nested_meta(|meta| take(&meta))?;
    }
    Ok(())
}

fn text(meta: &ParseNestedMeta<'_>) -> Result<String> {
    Ok(meta.value()?.parse::<LitStr>()?.value())
}
