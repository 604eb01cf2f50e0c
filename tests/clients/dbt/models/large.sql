{{ config(materialized='view') }}
select customer, total from {{ ref('totals') }} where total > 20
