-- A delivery that failed: how often in a row, and before when it is not tried again.
ALTER TABLE credential ADD COLUMN deliver_tries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE credential ADD COLUMN deliver_after TEXT;
-- Whether the appliance lets an admin robot register others.
ALTER TABLE site ADD COLUMN admin_registers INTEGER;
-- When a person was last told, by a hook, that a credential is about to expire.
ALTER TABLE robot ADD COLUMN told_at TEXT;
