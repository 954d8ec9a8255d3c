PRAGMA application_id = 1667463016;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE delivery (
    delivery_id INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id  INTEGER NOT NULL REFERENCES message,
    webhook     TEXT NOT NULL,
    lane        TEXT NOT NULL,
    status      TEXT NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    http_status INTEGER,
    error       TEXT,
    since       INTEGER NOT NULL,
    first       INTEGER,
    last        INTEGER,
    next        INTEGER,
    ended       INTEGER,
    UNIQUE (message_id, webhook)
);
INSERT INTO "delivery" VALUES(1,1,'crm','c1','waiting',0,NULL,NULL,1700000000000,NULL,NULL,1700000000000,NULL);
CREATE TABLE message (
    message_id INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook_id TEXT NOT NULL UNIQUE,
    type       TEXT NOT NULL,
    lane       TEXT NOT NULL,
    call_id    INTEGER,
    seq        INTEGER,
    state      TEXT,
    told       INTEGER NOT NULL,
    body       BLOB NOT NULL
);
INSERT INTO "message" VALUES(1,'msg_1','call.state','c1',1,1,'CALL',1700000000000,X'7B2274797065223A2263616C6C2E7374617465222C2264617461223A7B226F726465725F6964223A226F726465722D31227D7D');
CREATE TABLE position (event_id INTEGER NOT NULL);
INSERT INTO "position" VALUES(7);
CREATE TABLE stopped (webhook TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE INDEX message_of_call ON message (call_id) WHERE call_id IS NOT NULL;
CREATE INDEX message_told ON message (told);
CREATE INDEX delivery_due ON delivery (webhook, next) WHERE next IS NOT NULL;
CREATE INDEX delivery_lane ON delivery (webhook, lane, delivery_id) WHERE status = 'waiting';
CREATE INDEX delivery_ended ON delivery (webhook, ended) WHERE ended IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('message',1);
INSERT INTO "sqlite_sequence" VALUES('delivery',1);
COMMIT;
