{{ config(materialized='table') }}
select id, customer, amount from {{ source('shop', 'dbt_orders') }}
