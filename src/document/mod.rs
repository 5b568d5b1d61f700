//! Documents as people write them: YAML and JSON as a tree with positions, and the field table that decodes it.
