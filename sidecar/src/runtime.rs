//! One configuration generation, indexed for look-up, behind one `ArcSwap`.
