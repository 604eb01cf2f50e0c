#!/bin/sh
# Writes relations.tsv and statics.tsv, which stand beside this script, from a freshly made PostgreSQL 15:
#   initdb -U tidewater --locale=C -E UTF8; then PGHOST=… PGPORT=… PGUSER=tidewater PGDATABASE=postgres ./export.sh
#
# relations.tsv: every table and view of pg_catalog and information_schema:
#   OID, schema, name, relkind, OID of the row type, OID of its array type, columns as name:type, with ! behind those that are NOT NULL.
# statics.tsv: rows that are true of Tidewater too. "@relation column column …" begins a relation, its rows follow.
#   Columns that are not named have the default of their type. A function that is not listed is 0.
set -eu
cd "$(dirname "$0")"
ask() { psql -X -q -A -t -F "$(printf '\t')" -P null='\N' -v ON_ERROR_STOP=1 "$@"; }

# Types that Tidewater has, or that columns of the catalog have. Their array types come with them.
TYPES="bool bytea char name int8 int2 int2vector int4 regproc text oid oidvector json float4 float8 unknown varchar bpchar date time
timestamp timestamptz interval numeric regclass regtype regnamespace regrole regprocedure regoper regoperator regcollation record uuid
jsonb void any anyarray anyelement anynonarray anyenum anyrange anycompatible anycompatiblearray anycompatiblenonarray anycompatiblerange
cstring internal aclitem pg_node_tree xid pg_lsn inet pg_ndistinct pg_dependencies pg_mcv_list"

# Functions that can be called in SQL. Those that types need to read and print, and those of casts, come with them.
FUNCTIONS="abs ceil ceiling floor round trunc sign sqrt cbrt exp ln log log10 power pow mod div gcd lcm factorial pi degrees radians
sin cos tan cot asin acos atan atan2 sinh cosh tanh asinh acosh atanh random width_bucket scale min_scale trim_scale
length char_length character_length octet_length bit_length lower upper initcap btrim ltrim rtrim lpad rpad left right substring substr
position strpos replace translate repeat reverse split_part concat concat_ws format ascii chr md5 sha224 sha256 sha384 sha512 encode decode
quote_ident quote_literal quote_nullable parse_ident starts_with string_to_array array_to_string string_to_table overlay to_hex
regexp_replace regexp_match regexp_matches regexp_count regexp_like regexp_split_to_array regexp_split_to_table
to_char to_number to_date to_timestamp now date_trunc date_part extract date_bin age make_date make_time make_timestamp make_timestamptz
make_interval clock_timestamp statement_timestamp transaction_timestamp timezone isfinite justify_days justify_hours justify_interval
array_append array_prepend array_cat array_length array_lower array_upper array_ndims array_dims cardinality array_position array_positions
array_remove array_replace unnest generate_series generate_subscripts
to_json to_jsonb json_build_object json_build_array jsonb_build_object jsonb_build_array jsonb_array_elements jsonb_array_elements_text
jsonb_array_length jsonb_each jsonb_each_text jsonb_object_keys jsonb_typeof jsonb_extract_path jsonb_extract_path_text jsonb_pretty
jsonb_strip_nulls row_to_json json_agg jsonb_agg json_object_agg jsonb_object_agg
count sum avg min max bool_and bool_or every string_agg array_agg stddev stddev_pop stddev_samp variance var_pop var_samp corr covar_pop
covar_samp regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy percentile_cont percentile_disc mode
bit_and bit_or bit_xor row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value
version current_database current_schema current_schemas current_user session_user current_setting set_config
pg_backend_pid pg_cancel_backend pg_terminate_backend pg_typeof pg_client_encoding pg_encoding_to_char pg_char_to_encoding format_type
pg_get_expr pg_get_viewdef pg_get_indexdef pg_get_constraintdef pg_get_userbyid pg_get_serial_sequence pg_get_partkeydef
pg_get_function_result pg_get_function_arguments pg_get_function_identity_arguments pg_get_functiondef pg_get_ruledef pg_get_triggerdef
pg_get_keywords obj_description col_description shobj_description
pg_table_is_visible pg_type_is_visible pg_function_is_visible pg_operator_is_visible pg_opclass_is_visible pg_opfamily_is_visible
pg_collation_is_visible pg_conversion_is_visible pg_statistics_obj_is_visible pg_ts_config_is_visible pg_ts_dict_is_visible
pg_ts_parser_is_visible pg_ts_template_is_visible
has_table_privilege has_any_column_privilege has_column_privilege has_schema_privilege has_database_privilege has_function_privilege
has_sequence_privilege
pg_table_size pg_relation_size pg_total_relation_size pg_indexes_size pg_database_size pg_tablespace_size pg_size_pretty
pg_tablespace_location pg_is_in_recovery pg_postmaster_start_time pg_conf_load_time pg_my_temp_schema pg_is_other_temp_schema
pg_advisory_lock pg_advisory_unlock pg_advisory_unlock_all pg_try_advisory_lock txid_current inet_client_addr inet_client_port
inet_server_addr inet_server_port to_regclass to_regtype to_regproc to_regnamespace to_regrole
gen_random_uuid pg_sleep num_nulls num_nonnulls _pg_expandarray"

# What the statements below share: the kept types, functions and operators, and f() and o(), which make 0 of an OID that is not kept.
PREPARE=$(cat <<SQL
set client_min_messages = warning;
create temp table word (name text);
insert into word select unnest(regexp_split_to_array('$(echo $FUNCTIONS)', ' '));
create temp table type as select * from pg_type
    where typnamespace = 'pg_catalog'::regnamespace and typname = any (regexp_split_to_array('$(echo $TYPES)', ' '));
insert into type select * from pg_type where typtype = 'd';
insert into type select a.* from pg_type a join type t on a.oid = t.typarray;
create temp table plain as select * from type where typname !~ '^_?(xid8?|tid|cid|pg_lsn|inet|aclitem|pg_(lsn|nd.*|dep.*|mcv.*)|cstring|internal|regproc.*|regoper.*|regcol.*|regrole|regna.*)\$';
create temp table proc as select p.* from pg_proc p
    where (p.oid in (select unnest(array[typsubscript, typinput, typoutput, typreceive, typsend, typmodin, typmodout])::oid from type)
            or p.oid in (select castfunc from pg_cast where castsource in (select oid from plain) and casttarget in (select oid from plain))
            or proname in (select name from word) and pronargs <= 6 and prorettype in (select oid from plain)
                and not exists (select from unnest(proargtypes) a where a not in (select oid from plain)))
        and prorettype in (select oid from type)
        and not exists (select from unnest(coalesce(proallargtypes, proargtypes::oid[])) a where a not in (select oid from type))
        and (pronamespace = 'pg_catalog'::regnamespace or proname = '_pg_expandarray');
create function pg_temp.f(f oid) returns oid language sql as 'select coalesce((select oid from proc where oid = f), 0)';
create temp table operator as select * from pg_operator
    where oprleft in (select oid from plain union all select 0) and oprright in (select oid from plain) and oprresult in (select oid from plain)
        and oprname !~ '^(~[<>]=?~|\*[<>=]+|[|]/|[|][|]/|@@|<<=?|>>=?|[&|#])\$';
create function pg_temp.o(o oid) returns oid language sql as 'select coalesce((select oid from operator where oid = o), 0)';
SQL
)

ask <<SQL > relations.tsv
$PREPARE
select c.oid, n.nspname, c.relname, c.relkind, c.reltype, t.typarray,
    (select string_agg(a.attname || ':' || y.typname || case when a.attnotnull then '!' else '' end, ' ' order by a.attnum)
        from pg_attribute a join pg_type y on y.oid = a.atttypid where a.attrelid = c.oid and a.attnum > 0)
from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_type t on t.oid = c.reltype
where n.nspname in ('pg_catalog', 'information_schema') and c.relkind in ('r', 'v') order by c.oid;
SQL

ask <<SQL > statics.tsv
$PREPARE
\echo @pg_type oid typname typnamespace typowner typlen typbyval typtype typcategory typispreferred typisdefined typdelim typsubscript typelem typarray typinput typoutput typreceive typsend typmodin typmodout typalign typstorage typbasetype typtypmod typcollation
select oid, typname, typnamespace, typowner, typlen, typbyval, typtype, typcategory, typispreferred, typisdefined, typdelim,
    pg_temp.f(typsubscript), typelem, typarray, pg_temp.f(typinput), pg_temp.f(typoutput), pg_temp.f(typreceive), pg_temp.f(typsend),
    pg_temp.f(typmodin), pg_temp.f(typmodout), typalign, typstorage, typbasetype, typtypmod, typcollation from type order by oid;
\echo @pg_proc oid proname pronamespace proowner prolang procost prorows provariadic prokind proisstrict proretset provolatile proparallel pronargs pronargdefaults prorettype proargtypes proallargtypes proargmodes proargnames
select oid, proname, pronamespace, proowner, prolang, procost, prorows, provariadic, prokind, proisstrict, proretset, provolatile, proparallel,
    pronargs, pronargdefaults, prorettype, proargtypes, proallargtypes, proargmodes, proargnames from proc order by oid;
\echo @pg_operator oid oprname oprnamespace oprowner oprkind oprcanmerge oprcanhash oprleft oprright oprresult oprcom oprnegate
select oid, oprname, oprnamespace, oprowner, oprkind, oprcanmerge, oprcanhash, oprleft, oprright, oprresult, pg_temp.o(oprcom),
    pg_temp.o(oprnegate) from operator order by oid;
\echo @pg_cast oid castsource casttarget castfunc castcontext castmethod
select oid, castsource, casttarget, pg_temp.f(castfunc), castcontext, castmethod from pg_cast
    where castsource in (select oid from plain) and casttarget in (select oid from plain) order by oid;
\echo @pg_am oid amname amtype
select oid, amname, amtype from pg_am where amname in ('heap', 'btree') order by oid;
\echo @pg_opfamily oid opfmethod opfname opfnamespace opfowner
select oid, opfmethod, opfname, opfnamespace, opfowner from pg_opfamily
    where oid in (select opcfamily from pg_opclass where opcmethod = 403 and opcdefault and opcintype in (select oid from plain)) order by oid;
\echo @pg_opclass oid opcmethod opcname opcnamespace opcowner opcfamily opcintype opcdefault opckeytype
select oid, opcmethod, opcname, opcnamespace, opcowner, opcfamily, opcintype, opcdefault, opckeytype from pg_opclass
    where opcmethod = 403 and opcdefault and opcintype in (select oid from plain) order by oid;
\echo @pg_collation oid collname collnamespace collowner collprovider collisdeterministic collencoding collcollate collctype
select oid, collname, collnamespace, collowner, collprovider, collisdeterministic, collencoding, collcollate, collctype from pg_collation
    where collname in ('default', 'C', 'POSIX') order by oid;
\echo @pg_language oid lanname lanowner lanispl lanpltrusted
select oid, lanname, lanowner, lanispl, lanpltrusted from pg_language where lanname in ('internal', 'c', 'sql') order by oid;
\echo @pg_tablespace oid spcname spcowner
select oid, spcname, spcowner from pg_tablespace order by oid;
\echo @pg_description objoid classoid objsubid description
select objoid, classoid, objsubid, description from pg_description
    where classoid = 'pg_type'::regclass and objoid in (select oid from type) order by objoid;
\echo @keywords word catcode barelabel
select word, catcode, barelabel from pg_get_keywords() order by word;
SQL
