{{ config(materialized='materialized_view', indexes=[{'columns': ['customer']}]) }}
select customer, count(*) as orders, sum(amount) as total
from {{ source('shop', 'dbt_orders') }}
group by customer
