//! Log time as text, as the gate prints it everywhere.

pub(crate) use gate::times::iso;
