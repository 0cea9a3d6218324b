-- name: keep
insert into content.messages (app_id, notification_id, message) values ($1, $2, $3);

-- name: recall
select message from content.messages where app_id = $1 and notification_id = $2;
