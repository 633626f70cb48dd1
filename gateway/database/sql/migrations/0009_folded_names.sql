-- Names as clients write them: a Mac takes letters apart (NFD), Windows and macOS do not keep to case.

-- step: function folded
-- unless: to_regprocedure('teamcache_gateway.folded(text)') IS NOT NULL
-- A path without its Unicode form and without case: equal for all paths that a Mac or a Windows
-- machine takes for one. Case is that of Unicode's simple folding, for Latin (U+0041 to U+017E),
-- Greek and Cyrillic letters; the Turkish dotted and dotless i and the German sharp s are letters of
-- their own. No collation of PostgreSQL folds alike in every build and version, so the letters are
-- listed. They are looked for first: taking each letter from the list takes most of the time.
-- One expression, so that PostgreSQL puts it in place of the call. Whoever adds files runs it.
-- In an encoding other than UTF8 there are no Unicode forms, and case is that of ASCII.
DO $step$
BEGIN
    IF current_setting('server_encoding') = 'UTF8' THEN
        CREATE FUNCTION teamcache_gateway.folded(path text) RETURNS text
        LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT CASE
            WHEN octet_length(path) = length(path) THEN lower(path COLLATE "C")
            WHEN path COLLATE "C" !~ '[\u00C0-\u00DE\u0100-\u017E\u0300-\u036F\u0386-\u03AB\u03C2\u0400-\u042F\u1FBB\u1FC9\u1FCB\u1FDB\u1FEB\u1FF9\u1FFB\u2126\u212B]'
            THEN lower(normalize(path, NFC) COLLATE "C")
            ELSE translate(
                lower(normalize(path, NFC) COLLATE "C"),
                U&'\00C0\00C1\00C2\00C3\00C4\00C5\00C6\00C7\00C8\00C9\00CA\00CB\00CC\00CD\00CE\00CF\00D0'
                  '\00D1\00D2\00D3\00D4\00D5\00D6\00D8\00D9\00DA\00DB\00DC\00DD\00DE\0100\0102\0104\0106'
                  '\0108\010A\010C\010E\0110\0112\0114\0116\0118\011A\011C\011E\0120\0122\0124\0126\0128'
                  '\012A\012C\012E\0132\0134\0136\0139\013B\013D\013F\0141\0143\0145\0147\014A\014C\014E'
                  '\0150\0152\0154\0156\0158\015A\015C\015E\0160\0162\0164\0166\0168\016A\016C\016E\0170'
                  '\0172\0174\0176\0178\0179\017B\017D\0386\0388\0389\038A\038C\038E\038F\0391\0392\0393'
                  '\0394\0395\0396\0397\0398\0399\039A\039B\039C\039D\039E\039F\03A0\03A1\03A3\03A4\03A5'
                  '\03A6\03A7\03A8\03A9\03AA\03AB\03C2\0400\0401\0402\0403\0404\0405\0406\0407\0408\0409'
                  '\040A\040B\040C\040D\040E\040F\0410\0411\0412\0413\0414\0415\0416\0417\0418\0419\041A'
                  '\041B\041C\041D\041E\041F\0420\0421\0422\0423\0424\0425\0426\0427\0428\0429\042A\042B'
                  '\042C\042D\042E\042F',
                U&'\00E0\00E1\00E2\00E3\00E4\00E5\00E6\00E7\00E8\00E9\00EA\00EB\00EC\00ED\00EE\00EF\00F0'
                  '\00F1\00F2\00F3\00F4\00F5\00F6\00F8\00F9\00FA\00FB\00FC\00FD\00FE\0101\0103\0105\0107'
                  '\0109\010B\010D\010F\0111\0113\0115\0117\0119\011B\011D\011F\0121\0123\0125\0127\0129'
                  '\012B\012D\012F\0133\0135\0137\013A\013C\013E\0140\0142\0144\0146\0148\014B\014D\014F'
                  '\0151\0153\0155\0157\0159\015B\015D\015F\0161\0163\0165\0167\0169\016B\016D\016F\0171'
                  '\0173\0175\0177\00FF\017A\017C\017E\03AC\03AD\03AE\03AF\03CC\03CD\03CE\03B1\03B2\03B3'
                  '\03B4\03B5\03B6\03B7\03B8\03B9\03BA\03BB\03BC\03BD\03BE\03BF\03C0\03C1\03C3\03C4\03C5'
                  '\03C6\03C7\03C8\03C9\03CA\03CB\03C3\0450\0451\0452\0453\0454\0455\0456\0457\0458\0459'
                  '\045A\045B\045C\045D\045E\045F\0430\0431\0432\0433\0434\0435\0436\0437\0438\0439\043A'
                  '\043B\043C\043D\043E\043F\0440\0441\0442\0443\0444\0445\0446\0447\0448\0449\044A\044B'
                  '\044C\044D\044E\044F'
            )
        END
        $$;
    ELSE
        CREATE FUNCTION teamcache_gateway.folded(path text) RETURNS text
        LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT lower(path COLLATE "C")
        $$;
    END IF;
    GRANT EXECUTE ON FUNCTION teamcache_gateway.folded(text) TO PUBLIC;
END
$step$;

-- step: index teamcache_gateway_files_folded
-- unless: EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('teamcache_gateway_files_folded') AND indisvalid)
-- concurrently
-- Of a hash: a fifth of the size, and no path is too long for it. What is found is compared.
-- Drops only our own index, where an interrupted start left it invalid.
DROP INDEX CONCURRENTLY IF EXISTS teamcache_gateway_files_folded;
CREATE INDEX CONCURRENTLY teamcache_gateway_files_folded ON files USING btree (hashtextextended(teamcache_gateway.folded(path) COLLATE "C", 0));
