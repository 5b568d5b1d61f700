//! The environment of a container: [`Environment`] (kubelet `pkg/kubelet/kubelet_pods.go`).
//!
//! Order of precedence, the last one wins: the runtime's own variables, the image's `Env`, Services, `envFrom` in list
//! order, `env` in list order.

use std::collections::HashMap;

use super::expansion::{MAX_LENGTH, TooLong, expand};
use super::{BundleInput, ConfigError, env_file, field_ref, hosts, resources};
use crate::manifest::{base64, v1};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the kernel takes at most for arguments and environment together, in bytes (3/4 of `_STK_LIM`).
pub(crate) const MAX_TOTAL: usize = 6 << 20;

/// Variables in the order of their first appearance.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    variables: Vec<(String, String)>,
    /// Place of each name.
    places: HashMap<String, usize>,
    /// Bytes of all names and values ever set.
    size: usize,
}

impl Environment {
    /// Value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.places.get(name).and_then(|&place| self.variables.get(place)).map(|(_, value)| value.clone())
    }

    fn set(&mut self, name: String, value: String) -> Result<(), ConfigError> {
        let length = name.len() + 1 + value.len();
        self.size = self.size.saturating_add(length);
        if name.contains('\0') || value.contains('\0') {
            return Err(ConfigError::config(format!(
                "environment variable {name:?} holds a NUL byte; mount the ConfigMap or Secret as a volume instead"
            )));
        }
        if length > MAX_LENGTH {
            return Err(too_long(&name, TooLong));
        }
        if self.size > MAX_TOTAL {
            return Err(ConfigError::config(format!(
                "the environment is larger than the {MAX_TOTAL} bytes that the kernel takes; \
                 mount ConfigMaps and Secrets as volumes instead"
            )));
        }
        if let Some((_, old)) = self.places.get(&name).and_then(|&place| self.variables.get_mut(place)) {
            *old = value;
        } else {
            self.places.insert(name.clone(), self.variables.len());
            self.variables.push((name, value));
        }
        Ok(())
    }

    /// `NAME=value` lines over those of the runtime and the image.
    pub(crate) fn over_image(self, input: &BundleInput) -> Result<Vec<String>, ConfigError> {
        let mut all = Self::default();
        all.set("PATH".to_owned(), DEFAULT_PATH.to_owned())?;
        if input.container()?.tty {
            all.set("TERM".to_owned(), "xterm".to_owned())?;
        }
        all.set("HOSTNAME".to_owned(), hosts::hostname(input.pod, &input.node.host_name))?;
        for entry in input.image_config().and_then(|config| config.env().as_ref()).into_iter().flatten() {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            all.set(name.to_owned(), value.to_owned())?;
        }
        for (name, value) in self.variables {
            all.set(name, value)?;
        }
        Ok(all.variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
    }
}

/// Variables of Services, then what the manifest sets: `envFrom`, then `env`.
pub(crate) fn of_manifest(input: &BundleInput) -> Result<Environment, ConfigError> {
    let container = input.container()?;
    let mut environment = Environment::default();
    if input.pod.spec.enable_service_links != Some(false) {
        for (name, value) in input.service_links {
            environment.set(name.clone(), value.clone())?;
        }
    }
    for source in &container.env_from {
        for (key, value) in whole_object(input, source)? {
            environment.set(format!("{}{key}", source.prefix), value)?;
        }
    }
    for variable in &container.env {
        let value = match &variable.value_from {
            None => Some(
                expand(&variable.value, |name| environment.get(name))
                    .map_err(|problem| too_long(&variable.name, problem))?,
            ),
            Some(source) => value_from(input, container, source)?,
        };
        if let Some(value) = value {
            environment.set(variable.name.clone(), value)?;
        }
    }
    Ok(environment)
}

fn whole_object(input: &BundleInput, source: &v1::EnvFromSource) -> Result<Vec<(String, String)>, ConfigError> {
    if let Some(reference) = &source.config_map_ref {
        return match input.config_maps.get(&reference.name) {
            Some(map) => Ok(map.data.iter().map(|(key, value)| (key.clone(), value.clone())).collect()),
            None if reference.optional => Ok(Vec::new()),
            None => Err(missing_config_map(&reference.name)),
        };
    }
    if let Some(reference) = &source.secret_ref {
        return match input.secrets.get(&reference.name) {
            Some(secret) => secret
                .data
                .iter()
                .map(|(key, value)| Ok((key.clone(), secret_text(input, &reference.name, key, value)?)))
                .collect(),
            None if reference.optional => Ok(Vec::new()),
            None => Err(missing_secret(&reference.name)),
        };
    }
    Ok(Vec::new())
}

/// `None`: the variable stays unset, which only optional references may do.
fn value_from(
    input: &BundleInput,
    container: &v1::Container,
    source: &v1::EnvVarSource,
) -> Result<Option<String>, ConfigError> {
    if let Some(field) = &source.field_ref {
        return field_ref::value(input, &field.field_path).map(Some);
    }
    if let Some(selector) = &source.resource_field_ref {
        let of = if selector.container_name.is_empty() { &container.name } else { &selector.container_name };
        let of = super::find_container(input.pod, of)
            .ok_or_else(|| ConfigError::config(format!("container {of} not found")))?;
        return resources::field_value(of, &selector.resource, &selector.divisor, input.node).map(Some);
    }
    let namespace = &input.pod.metadata.namespace;
    if let Some(key) = &source.config_map_key_ref {
        return match input.config_maps.get(&key.name).map(|map| map.data.get(&key.key)) {
            Some(Some(value)) => Ok(Some(value.clone())),
            _ if key.optional => Ok(None),
            None => Err(missing_config_map(&key.name)),
            Some(None) => {
                Err(ConfigError::config(format!("couldn't find key {} in ConfigMap {namespace}/{}", key.key, key.name)))
            }
        };
    }
    if let Some(key) = &source.secret_key_ref {
        return match input.secrets.get(&key.name).map(|secret| secret.data.get(&key.key)) {
            Some(Some(value)) => secret_text(input, &key.name, &key.key, value).map(Some),
            _ if key.optional => Ok(None),
            None => Err(missing_secret(&key.name)),
            Some(None) => {
                Err(ConfigError::config(format!("couldn't find key {} in Secret {namespace}/{}", key.key, key.name)))
            }
        };
    }
    if let Some(file) = &source.file_key_ref {
        return from_file(input, file);
    }
    Ok(Some(String::new()))
}

fn from_file(input: &BundleInput, wanted: &v1::FileKeySelector) -> Result<Option<String>, ConfigError> {
    let v1::FileKeySelector { volume_name, path, key, optional } = wanted;
    let Some(text) = input.env_files.get(&(volume_name.clone(), path.clone())) else {
        let message = format!("environment variable file \"{path}\" not found in volume \"{volume_name}\"");
        return if *optional { Ok(None) } else { Err(ConfigError::config(message)) };
    };
    match env_file::find(text, key) {
        Ok(Some(value)) => Ok(Some(value)),
        Ok(None) if *optional => Ok(None),
        Ok(None) => {
            Err(ConfigError::config(format!("environment variable key \"{key}\" not found in file \"{path}\"")))
        }
        Err(line) => Err(ConfigError::config(format!(
            "couldn't parse env file: line {line} of \"{path}\" in volume \"{volume_name}\" is not of the form KEY='value'"
        ))),
    }
}

fn too_long(name: &str, problem: TooLong) -> ConfigError {
    ConfigError::config(format!("environment variable {name} is {problem}; mount the value as a file instead"))
}

fn missing_config_map(name: &str) -> ConfigError {
    ConfigError::config(format!("configmap \"{name}\" not found"))
}

fn missing_secret(name: &str) -> ConfigError {
    ConfigError::config(format!("secret \"{name}\" not found"))
}

/// The message names the key, never the value.
fn secret_text(input: &BundleInput, name: &str, key: &str, encoded: &str) -> Result<String, ConfigError> {
    let namespace = &input.pod.metadata.namespace;
    let bytes = base64::decode(encoded)
        .map_err(|error| ConfigError::config(format!("key {key} in Secret {namespace}/{name} is {error}")))?;
    String::from_utf8(bytes).map_err(|_| {
        ConfigError::config(format!(
            "key {key} in Secret {namespace}/{name} is not UTF-8 text and cannot be an environment variable; \
             mount the Secret as a volume instead"
        ))
    })
}
