-- Nexmark q22, directories of addresses.
-- What it exercises: parts of a text.
CREATE MATERIALIZED VIEW IF NOT EXISTS q22 AS
SELECT auction, bidder, price, channel,
       split_part(url, '/', 4) AS dir1,
       split_part(url, '/', 5) AS dir2,
       split_part(url, '/', 6) AS dir3
FROM bid;
