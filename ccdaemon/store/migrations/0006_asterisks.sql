-- Whose a node is: a journal that is made anew goes on as the node that was last of its Asterisk.

-- asterisk: where it is, as the lock of its daemon has it. seen: when its journal was last here.
ALTER TABLE node
    ADD COLUMN asterisk text,
    ADD COLUMN seen timestamptz;
CREATE INDEX node_of_asterisk ON node (asterisk, seen);

-- What such a journal is to hold again. Of the millions there are, a handful.
CREATE INDEX call_open ON call (node) WHERE NOT final;
