//! Layers, plan, probes, and the diagnosis with its catalogue of causes
