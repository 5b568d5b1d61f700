#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::*;
use crate::manifest::v1::{
    ConfigMapVolumeSource, DownwardApiVolumeFile, EmptyDirVolumeSource, HostPathVolumeSource, KeyToPath,
    PersistentVolumeClaimVolumeSource, SecretVolumeSource,
};

struct Room {
    dir: tempfile::TempDir,
    layout: Layout,
    pod: Pod,
    objects: Objects,
}

impl Room {
    fn new(volume: Volume) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout {
            run: dir.path().join("run"),
            data: dir.path().join("data"),
            logs: dir.path().join("logs"),
            preload: Vec::new(),
        };
        let mut pod = Pod::default();
        pod.metadata.uid = "u1".into();
        pod.metadata.namespace = "default".into();
        pod.spec.volumes = vec![Volume { name: "v".into(), ..volume }];
        let mut map = ConfigMap::default();
        map.metadata.name = "cm".into();
        map.metadata.namespace = "default".into();
        map.data.insert("a.conf".into(), "one".into());
        map.binary_data.insert("b.bin".into(), "AP8=".into());
        let mut secret = Secret::default();
        secret.metadata.name = "s".into();
        secret.metadata.namespace = "default".into();
        secret.data.insert("token".into(), "c2VjcmV0".into());
        let objects = Objects { config_maps: vec![Rc::new(map)], secrets: vec![Rc::new(secret)], ..Objects::default() };
        Self { dir, layout, pod, objects }
    }

    fn config_map(source: ConfigMapVolumeSource) -> Self {
        Self::new(Volume {
            config_map: Some(ConfigMapVolumeSource { name: "cm".into(), ..source }),
            ..Volume::default()
        })
    }

    fn host_path(kind: &str, path: &Path) -> Self {
        let path = path.to_str().unwrap().to_owned();
        Self::new(Volume { host_path: Some(HostPathVolumeSource { path, kind: kind.into() }), ..Volume::default() })
    }

    fn prepare(&self) -> Result<PathBuf, Failure> {
        self.prepare_with_warnings().map(|(path, warnings)| {
            assert!(warnings.is_empty(), "{warnings:?}");
            path
        })
    }

    fn prepare_with_warnings(&self) -> Result<(PathBuf, Vec<String>), Failure> {
        let field = |item: &DownwardApiVolumeFile| Ok(format!("field of {}", item.path));
        let site =
            Site { layout: &self.layout, pod: &self.pod, objects: &self.objects, field: &field, memory_bytes: None };
        let remarks = prepare(site)?;
        assert_eq!(remarks.already_mounted, [] as [String; 0]);
        Ok((path(&self.layout, "u1", &self.pod.spec.volumes[0]), remarks.warnings))
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn an_empty_dir_on_disk_is_open_to_all_and_keeps_its_content_and_mode() {
    let room = Room::new(Volume { empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() });
    let dir = room.prepare().unwrap();
    assert_eq!(dir, room.dir.path().join("data/pods/u1/volumes/v"));
    assert_eq!(mode(&dir), 0o777);
    std::fs::write(dir.join("kept"), "x").unwrap();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).unwrap();
    room.prepare().unwrap();
    assert_eq!(std::fs::read(dir.join("kept")).unwrap(), b"x");
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(std::fs::read_dir(dir.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn every_key_of_a_config_map_becomes_a_file_behind_links() {
    let room = Room::config_map(ConfigMapVolumeSource::default());
    let dir = room.prepare().unwrap();
    assert_eq!(std::fs::read(dir.join("a.conf")).unwrap(), b"one");
    assert_eq!(std::fs::read(dir.join("b.bin")).unwrap(), [0, 255]);
    assert_eq!(std::fs::read_link(dir.join("a.conf")).unwrap(), Path::new("..data/a.conf"));
    assert!(std::fs::read_link(dir.join("..data")).unwrap().to_str().unwrap().starts_with("..2"));
    assert_eq!(mode(&dir.join("a.conf")), 0o644);
}

#[test]
fn equal_content_is_not_rewritten_and_changed_content_is_swapped_in_one_step() {
    let mut room = Room::config_map(ConfigMapVolumeSource::default());
    let dir = room.prepare().unwrap();
    let first = std::fs::read_link(dir.join("..data")).unwrap();
    room.prepare().unwrap();
    assert_eq!(std::fs::read_link(dir.join("..data")).unwrap(), first);
    Rc::make_mut(&mut room.objects.config_maps[0]).data = [("c.conf".to_owned(), "two".to_owned())].into();
    room.prepare().unwrap();
    assert_ne!(std::fs::read_link(dir.join("..data")).unwrap(), first);
    assert!(!dir.join(&first).exists());
    assert!(dir.join("a.conf").symlink_metadata().is_err());
    assert_eq!(std::fs::read(dir.join("c.conf")).unwrap(), b"two");
}

#[test]
fn what_a_killed_writer_left_is_cleared_away() {
    let room = Room::config_map(ConfigMapVolumeSource::default());
    let dir = room.prepare().unwrap();
    std::fs::create_dir(dir.join("..2020_01_01_00_00_00.1")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.join("..data_tmp")).unwrap();
    std::fs::remove_file(dir.join("a.conf")).unwrap();
    room.prepare().unwrap();
    assert_eq!(std::fs::read(dir.join("a.conf")).unwrap(), b"one");
    let mut names: Vec<_> =
        std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 4, "{names:?}");
}

#[test]
fn items_pick_keys_paths_and_modes() {
    let item = KeyToPath { key: "a.conf".into(), path: "sub/dir/renamed".into(), mode: Some(0o400) };
    let room = Room::config_map(ConfigMapVolumeSource { items: vec![item], ..Default::default() });
    let dir = room.prepare().unwrap();
    assert_eq!(std::fs::read(dir.join("sub/dir/renamed")).unwrap(), b"one");
    assert_eq!(mode(&dir.join("sub/dir/renamed")), 0o400);
    assert_eq!(std::fs::read_link(dir.join("sub")).unwrap(), Path::new("..data/sub"));
    assert!(!dir.join("b.bin").exists());
}

#[test]
fn a_missing_key_or_object_is_told_in_kubernetes_words() {
    let item = KeyToPath { key: "k".into(), path: "k".into(), mode: None };
    let mut room = Room::config_map(ConfigMapVolumeSource { items: vec![item.clone()], ..Default::default() });
    let failure = room.prepare().unwrap_err();
    assert_eq!(failure.reason, "FailedMount");
    assert_eq!(
        failure.message,
        "MountVolume.SetUp failed for volume \"v\" : configmap references non-existent config key: k"
    );
    room.objects.config_maps.clear();
    assert!(room.prepare().unwrap_err().message.ends_with("configmap \"cm\" not found"));
    room.pod.spec.volumes[0].config_map.as_mut().unwrap().optional = true;
    assert_eq!(
        std::fs::read_dir(room.prepare().unwrap())
            .unwrap()
            .filter(|e| !e.as_ref().unwrap().file_name().to_str().unwrap().starts_with(".."))
            .count(),
        0
    );
    let source = SecretVolumeSource { secret_name: "s".into(), items: vec![item], ..Default::default() };
    let room = Room::new(Volume { secret: Some(source), ..Volume::default() });
    assert!(room.prepare().unwrap_err().message.ends_with("secret references non-existent secret key: k"));
}

#[test]
fn hostile_keys_and_paths_are_refused() {
    for key in ["../x", "a/b", "..", ".", "", "..data"] {
        let mut room = Room::config_map(ConfigMapVolumeSource::default());
        Rc::make_mut(&mut room.objects.config_maps[0]).data.insert(key.into(), "x".into());
        assert!(room.prepare().is_err(), "{key:?}");
    }
    for path in ["../x", "/etc/x", "a/../../x", "..x", "", "."] {
        let item = KeyToPath { key: "a.conf".into(), path: path.into(), mode: None };
        let room = Room::config_map(ConfigMapVolumeSource { items: vec![item], ..Default::default() });
        assert!(room.prepare().is_err(), "{path:?}");
    }
    let items = ["x", "x/y"].map(|path| KeyToPath { key: "a.conf".into(), path: path.into(), mode: None }).to_vec();
    assert!(Room::config_map(ConfigMapVolumeSource { items, ..Default::default() }).prepare().is_err());
}

#[test]
fn secrets_lie_below_run_with_the_mode_asked_for() {
    let source = SecretVolumeSource { secret_name: "s".into(), default_mode: Some(0o400), ..Default::default() };
    let room = Room::new(Volume { secret: Some(source), ..Volume::default() });
    let dir = room.prepare().unwrap();
    assert!(dir.starts_with(&room.layout.run));
    assert_eq!(std::fs::read(dir.join("token")).unwrap(), b"secret");
    assert_eq!(mode(&dir.join("token")), 0o400);
}

#[test]
fn fs_group_owns_volumes_and_adds_group_bits() {
    let mut room = Room::new(Volume { empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() });
    room.pod.spec.security_context.fs_group = Some(2000);
    let dir = room.prepare().unwrap();
    std::fs::create_dir(dir.join("d")).unwrap();
    std::fs::write(dir.join("d/f"), "").unwrap();
    std::fs::set_permissions(dir.join("d/f"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", dir.join("link")).unwrap();
    let untouched = Path::new("/etc/hostname").metadata().unwrap().gid();
    room.prepare().unwrap();
    assert_eq!((dir.metadata().unwrap().gid(), mode(&dir)), (2000, 0o2777));
    assert_eq!((dir.join("d/f").metadata().unwrap().gid(), mode(&dir.join("d/f"))), (2000, 0o660));
    assert_eq!(mode(&dir.join("d")) & 0o2770, 0o2770);
    assert_eq!(dir.join("link").symlink_metadata().unwrap().gid(), 2000);
    assert_eq!(Path::new("/etc/hostname").metadata().unwrap().gid(), untouched);

    let source = SecretVolumeSource { secret_name: "s".into(), default_mode: Some(0o400), ..Default::default() };
    let mut room = Room::new(Volume { secret: Some(source), ..Volume::default() });
    room.pod.spec.security_context.fs_group = Some(2000);
    let dir = room.prepare().unwrap();
    assert_eq!((dir.join("token").metadata().unwrap().gid(), mode(&dir.join("token"))), (2000, 0o440));
    let first = std::fs::read_link(dir.join("..data")).unwrap();
    room.prepare().unwrap();
    assert_eq!(std::fs::read_link(dir.join("..data")).unwrap(), first);
}

#[test]
fn host_paths_are_checked_or_made_as_their_type_says() {
    let temp = tempfile::tempdir().unwrap();
    let missing = temp.path().join("missing/deep");
    let file = temp.path().join("file");
    std::fs::write(&file, "").unwrap();
    let socket = temp.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let fails = |kind: &str, path: &Path, noun: &str| {
        let message = Room::host_path(kind, path).prepare().unwrap_err().message;
        let expected = format!("hostPath type check failed: {} is not {noun}", path.display());
        assert!(message.ends_with(&expected), "{kind}: {message}");
    };
    fails("Directory", &missing, "a directory");
    fails("Directory", &file, "a directory");
    fails("DirectoryOrCreate", &file, "a directory");
    fails("File", &missing, "a file");
    fails("File", temp.path(), "a file");
    fails("FileOrCreate", temp.path(), "a file");
    fails("Socket", &file, "a socket file");
    fails("CharDevice", &missing, "a character device");
    fails("BlockDevice", Path::new("/dev/null"), "a block device");
    for (kind, path) in
        [("Socket", socket.as_path()), ("CharDevice", Path::new("/dev/null")), ("File", &file), ("", &file)]
    {
        Room::host_path(kind, path).prepare().unwrap();
    }
    // Parents are not created for a file.
    assert!(Room::host_path("FileOrCreate", &missing).prepare().is_err());
    Room::host_path("FileOrCreate", &temp.path().join("new")).prepare().unwrap();
    assert!(temp.path().join("new").is_file());
    Room::host_path("DirectoryOrCreate", &missing).prepare().unwrap();
    assert!(missing.is_dir());
    Room::host_path("", &temp.path().join("implicit")).prepare().unwrap();
    assert!(temp.path().join("implicit").is_dir());
    assert!(Room::host_path("", &temp.path().join("../x")).prepare().unwrap_err().message.contains("'..'"));
}

fn claim_room(documents: &[PersistentVolumeClaim], volumes: &[PersistentVolume]) -> Room {
    let source = PersistentVolumeClaimVolumeSource { claim_name: "data".into(), read_only: false };
    let mut room = Room::new(Volume { persistent_volume_claim: Some(source), ..Volume::default() });
    room.objects.claims = documents.iter().cloned().map(Rc::new).collect();
    room.objects.volumes = volumes.iter().cloned().map(Rc::new).collect();
    room
}

fn claim_of(class: &str, size: &str) -> PersistentVolumeClaim {
    let mut claim = PersistentVolumeClaim::default();
    claim.metadata.name = "data".into();
    claim.metadata.namespace = "default".into();
    claim.spec.access_modes = vec!["ReadWriteOnce".into()];
    claim.spec.storage_class_name = Some(class.into());
    claim.spec.resources.requests.insert("storage".into(), size.into());
    claim
}

fn volume_of(name: &str, class: &str, size: &str, path: &Path) -> PersistentVolume {
    let mut volume = PersistentVolume::default();
    volume.metadata.name = name.into();
    volume.spec.storage_class_name = class.into();
    volume.spec.access_modes = vec!["ReadWriteOnce".into(), "ReadWriteMany".into()];
    volume.spec.capacity.insert("storage".into(), size.into());
    volume.spec.host_path =
        Some(HostPathVolumeSource { path: path.to_str().unwrap().into(), kind: "DirectoryOrCreate".into() });
    volume
}

#[test]
fn a_claim_takes_the_smallest_volume_that_suits_and_keeps_it() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name);
    let volumes = [
        volume_of("small", "fast", "1Gi", &at("small")),
        volume_of("large", "fast", "9Gi", &at("large")),
        volume_of("right", "fast", "3Gi", &at("right")),
        volume_of("other", "slow", "3Gi", &at("other")),
    ];
    let mut room = claim_room(&[claim_of("fast", "2Gi")], &volumes);
    let bound = |room: &Room| room.prepare().map(|link| std::fs::read_link(link).unwrap());
    assert_eq!(bound(&room).unwrap(), at("right"));
    room.objects.volumes.push(Rc::new(volume_of("better", "fast", "2Gi", &at("better"))));
    assert_eq!(bound(&room).unwrap(), at("right"));
    // Another claim does not get it, although nothing suits it better.
    let mut other = claim_of("fast", "2Gi");
    other.metadata.name = "other".into();
    room.objects.claims.push(Rc::new(other));
    room.pod.spec.volumes[0].persistent_volume_claim.as_mut().unwrap().claim_name = "other".into();
    assert_eq!(bound(&room).unwrap(), at("better"));
    // The volume's document is gone: the data is not to be mistaken.
    room.objects.volumes.clear();
    assert!(room.prepare().unwrap_err().message.ends_with("persistentvolume \"better\" not found"));
}

#[test]
fn a_claim_without_a_suitable_volume_is_a_directory_for_ever() {
    let temp = tempfile::tempdir().unwrap();
    let mut room = claim_room(&[claim_of("fast", "2Gi")], &[]);
    let (link, warnings) = room.prepare_with_warnings().unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let place = room.layout.claims("default").join("data");
    assert_eq!((std::fs::read_link(&link).unwrap(), mode(&place)), (place.clone(), 0o777));
    room.objects.volumes = vec![Rc::new(volume_of("new", "fast", "3Gi", &temp.path().join("new")))];
    assert_eq!(std::fs::read_link(room.prepare().unwrap()).unwrap(), place);
    // Unless it is told to.
    Rc::make_mut(&mut room.objects.claims[0]).spec.volume_name = "new".into();
    let (link, warnings) = room.prepare_with_warnings().unwrap();
    assert_eq!(std::fs::read_link(link).unwrap(), temp.path().join("new"));
    assert!(warnings[0].contains("what it held before stays in"), "{warnings:?}");
    for name in ["..", "a/b", ".hidden", ""] {
        room.pod.spec.volumes[0].persistent_volume_claim.as_mut().unwrap().claim_name = name.into();
        assert!(room.prepare().is_err(), "{name:?}");
    }
}

#[test]
fn a_tree_that_is_swapped_for_a_link_is_never_followed_by_fs_group() {
    let mut room = Room::new(Volume { empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() });
    let dir = room.prepare().unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("victim"), "").unwrap();
    std::fs::create_dir(dir.join("a")).unwrap();
    room.pod.spec.security_context.fs_group = Some(2000);
    let (a, b, target) = (dir.join("a"), dir.join("b"), outside.path().to_owned());
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = std::sync::Arc::clone(&stop);
    let swapper = std::thread::spawn(move || {
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            let _ = std::fs::rename(&a, &b);
            let _ = std::os::unix::fs::symlink(&target, &a);
            let _ = std::fs::remove_file(&a);
            let _ = std::fs::rename(&b, &a);
        }
    });
    for _ in 0..300 {
        let _ = std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777));
        let _ = room.prepare_with_warnings();
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    swapper.join().unwrap();
    assert_ne!(outside.path().join("victim").metadata().unwrap().gid(), 2000);
    assert_ne!(outside.path().metadata().unwrap().gid(), 2000);
}
